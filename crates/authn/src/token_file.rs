//! The static token file, `--token-auth-file`: lines of `token,user,uid,"group1,group2"`
//! (upstream: apiserver/pkg/authentication/token/tokenfile).

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use apimachinery::UserInfo;
use async_trait::async_trait;
use jiff::Timestamp;

use crate::token::{BoxError, Known, TokenAuthenticator};

/// Tokens and their users.
#[derive(Debug, Default)]
pub struct TokenFile {
    users: HashMap<String, UserInfo>,
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenFileError {
    /// It cannot be read.
    #[error("read token file {path}: {cause}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// What went wrong.
        cause: std::io::Error,
    },
    /// A line has too few columns.
    #[error("token file {path:?} must have at least 3 columns (token, user name, user uid), found {columns}")]
    Columns {
        /// Which file.
        path: PathBuf,
        /// So many columns.
        columns: usize,
    },
}

impl TokenFile {
    /// Reads the file.
    pub fn load(path: &Path) -> Result<Self, TokenFileError> {
        let text =
            std::fs::read_to_string(path).map_err(|cause| TokenFileError::Read { path: path.to_owned(), cause })?;
        Self::parse(&text).map_err(|columns| TokenFileError::Columns { path: path.to_owned(), columns })
    }

    /// Reads the text of a file; a line with too few columns is told by their number.
    fn parse(text: &str) -> Result<Self, usize> {
        let mut users = HashMap::new();
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let columns = columns(line);
            let [token, name, uid, rest @ ..] = columns.as_slice() else { return Err(columns.len()) };
            // A line without a token is skipped, as upstream does with a warning.
            if token.is_empty() {
                tracing::warn!(user = name, "an empty token is in the token file");
                continue;
            }
            let groups = rest.first().map(String::as_str).unwrap_or_default();
            let groups = groups.split(',').filter(|group| !group.is_empty()).map(str::to_owned).collect();
            let user = UserInfo { username: name.clone(), uid: uid.clone(), groups, ..UserInfo::default() };
            users.insert(token.clone(), user);
        }
        Ok(Self { users })
    }
}

/// The columns of a line of comma-separated values; quotes keep commas together (RFC 4180).
fn columns(line: &str) -> Vec<String> {
    let mut columns = vec![String::new()];
    let mut quoted = false;
    let mut letters = line.trim().chars().peekable();
    while let Some(letter) = letters.next() {
        let last = columns.len() - 1;
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                columns[last].push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => columns.push(String::new()),
            ' ' if !quoted && columns[last].is_empty() => {}
            letter => columns[last].push(letter),
        }
    }
    columns
}

#[async_trait]
impl TokenAuthenticator for TokenFile {
    async fn authenticate(
        &self,
        token: &str,
        _audiences: &[String],
        _now: Timestamp,
    ) -> Result<Option<Known>, BoxError> {
        Ok(self.users.get(token).map(|user| Known { user: user.clone(), audiences: Vec::new() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_users() {
        let file =
            TokenFile::parse("t1,ann,7,\"dev,ops\"\n\nt2,bob,8\n,nobody,9\nt3,\"quo\"\"te\",1\n").expect("a file");
        assert_eq!(file.users.len(), 3);
        assert_eq!(file.users["t1"].groups, ["dev", "ops"]);
        assert_eq!((file.users["t2"].username.as_str(), file.users["t2"].uid.as_str()), ("bob", "8"));
        assert_eq!(file.users["t3"].username, "quo\"te");
        assert_eq!(TokenFile::parse("t1,ann").expect_err("too few"), 2);
    }
}
