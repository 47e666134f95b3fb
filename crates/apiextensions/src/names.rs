//! Which of the names that a definition asks for it gets: a name belongs to the first of its group that asked
//! (upstream: apiextensions-apiserver/pkg/controller/status/naming_controller.go).

use std::collections::HashSet;

use crate::conditions::Condition;
use crate::definition::Names;

/// The names that other definitions of the group have.
#[derive(Clone, Debug, Default)]
pub struct Taken<'n> {
    resources: HashSet<&'n str>,
    kinds: HashSet<&'n str>,
}

impl<'n> Taken<'n> {
    /// The names accepted for the other definitions of a group.
    pub fn of(accepted: impl IntoIterator<Item = &'n Names>) -> Self {
        let mut taken = Self::default();
        for names in accepted {
            taken.resources.extend([names.plural.as_str(), &names.singular]);
            taken.resources.extend(names.short_names.iter().map(String::as_str));
            taken.kinds.extend([names.kind.as_str(), &names.list_kind]);
        }
        taken.resources.remove("");
        taken.kinds.remove("");
        taken
    }
}

/// The names the definition gets, having some `accepted` already, and what is to be said about it.
pub fn settle(asked: &Names, accepted: &Names, taken: &Taken<'_>) -> (Names, Condition) {
    let mut names = Names { categories: asked.categories.clone(), ..accepted.clone() };
    let mut conflict: Option<(&'static str, String)> = None;
    let mut one = |asked: &str, own: &mut String, used: &HashSet<&str>, reason| {
        if asked != own.as_str() && used.contains(asked) {
            conflict = Some((reason, format!("{asked:?} is already in use")));
        } else {
            asked.clone_into(own);
        }
    };
    one(&asked.plural, &mut names.plural, &taken.resources, "PluralConflict");
    one(&asked.singular, &mut names.singular, &taken.resources, "SingularConflict");
    let used: Vec<String> = asked
        .short_names
        .iter()
        .filter(|name| !accepted.short_names.contains(name) && taken.resources.contains(name.as_str()))
        .map(|name| format!("{name:?} is already in use"))
        .collect();
    if used.is_empty() {
        names.short_names.clone_from(&asked.short_names);
    }
    one(&asked.kind, &mut names.kind, &taken.kinds, "KindConflict");
    one(&asked.list_kind, &mut names.list_kind, &taken.kinds, "ListKindConflict");
    // The last conflict is told, and short names come before kinds.
    let kinds = conflict.as_ref().is_some_and(|(reason, _)| reason.contains("Kind"));
    if !used.is_empty() && !kinds {
        let message = if used.len() == 1 { used[0].clone() } else { format!("[{}]", used.join(", ")) };
        conflict = Some(("ShortNamesConflict", message));
    }
    let condition = match conflict {
        Some((reason, message)) => Condition::new("NamesAccepted", false, reason, message),
        None => Condition::new("NamesAccepted", true, "NoConflicts", "no conflicts found"),
    };
    (names, condition)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(plural: &str, kind: &str, short: &[&str]) -> Names {
        Names {
            plural: plural.into(),
            singular: plural.trim_end_matches('s').into(),
            kind: kind.into(),
            list_kind: format!("{kind}List"),
            short_names: short.iter().map(ToString::to_string).collect(),
            categories: vec![],
        }
    }

    #[test]
    fn a_name_belongs_to_the_first_that_asked() {
        let other = names("things", "Thing", &["th"]);
        let taken = Taken::of([&other]);
        for (asked, accepted, reason) in [
            (names("stuffs", "Stuff", &["st"]), Names::default(), "NoConflicts"),
            (names("things", "Stuff", &[]), Names::default(), "SingularConflict"),
            (names("stuffs", "Thing", &[]), Names::default(), "ListKindConflict"),
            (names("stuffs", "Stuff", &["th"]), Names::default(), "ShortNamesConflict"),
            (names("stuffs", "Stuff", &["th"]), names("stuffs", "Stuff", &["th"]), "NoConflicts"),
        ] {
            let (got, condition) = settle(&asked, &accepted, &taken);
            assert_eq!(condition.reason, reason, "{asked:?}");
            assert_eq!(condition.holds, got == asked, "{asked:?}");
        }
        let (got, condition) = settle(&names("stuffs", "Stuff", &["th", "st"]), &Names::default(), &taken);
        assert_eq!(condition.message, r#""th" is already in use"#);
        assert_eq!((got.plural.as_str(), got.short_names.len()), ("stuffs", 0), "what is free is taken");
    }
}
