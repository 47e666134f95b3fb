//! Levels, versions, and the policy that a namespace's labels state (upstream: api/helpers.go).

use std::fmt;

use apimachinery::field::{self, Path};

/// How strict a policy is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Everything may be asked for.
    #[default]
    Privileged,
    /// Nothing that is known to break out of a pod.
    Baseline,
    /// Only what pods need by current practice.
    Restricted,
}

impl Level {
    /// The level of this name.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "privileged" => Some(Self::Privileged),
            "baseline" => Some(Self::Baseline),
            "restricted" => Some(Self::Restricted),
            _ => None,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Privileged => "privileged",
            Self::Baseline => "baseline",
            Self::Restricted => "restricted",
        })
    }
}

/// What is wrong with the name of a level.
pub const LEVEL_ERROR: &str = "must be one of privileged, baseline, restricted";
/// What is wrong with the name of a version.
pub const VERSION_ERROR: &str = "must be \"latest\" or \"v1.x\"";

/// A version of the policy: that of a minor release, or always the newest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// `v1.<minor>`.
    Minor(u32),
    /// `latest`.
    #[default]
    Latest,
}

impl Version {
    /// The version of this name.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "latest" {
            return Some(Self::Latest);
        }
        let minor = text.strip_prefix("v1.")?;
        let plain = minor.bytes().all(|byte| byte.is_ascii_digit()) && (minor == "0" || !minor.starts_with('0'));
        if plain { minor.parse().ok().map(Self::Minor) } else { None }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.write_str("latest"),
            Self::Minor(minor) => write!(f, "v1.{minor}"),
        }
    }
}

/// A level as it was in a version, as `baseline:v1.30`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LevelVersion {
    /// The level.
    pub level: Level,
    /// The version.
    pub version: Version,
}

impl LevelVersion {
    /// Whether the two forbid the same.
    pub fn is_equivalent(self, other: Self) -> bool {
        self == other || (self.level == Level::Privileged && other.level == Level::Privileged)
    }
}

impl fmt::Display for LevelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.level, self.version)
    }
}

/// What holds in a namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Pods that break this are refused.
    pub enforce: LevelVersion,
    /// What breaks this is noted in the audit log.
    pub audit: LevelVersion,
    /// Who breaks this is told.
    pub warn: LevelVersion,
}

const PREFIX: &str = "pod-security.kubernetes.io/";

impl Policy {
    /// The policy of a namespace with these labels, and what is wrong with them. Wrong labels enforce `restricted` and
    /// say nothing more (upstream: `PolicyToEvaluate`).
    pub fn of_labels<'l>(
        labels: impl Iterator<Item = (&'l str, &'l str)>,
        defaults: &Self,
    ) -> (Self, Vec<field::Error>) {
        let ours = labels.filter_map(|(key, value)| Some((key.strip_prefix(PREFIX)?, value)));
        let ours: Vec<(&str, &str)> = ours.collect();
        let find = |name: &str| ours.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
        let mut errors = Vec::new();
        let mut wrong = |name: &str, value: &str, detail: &str| {
            let path = Path::new("metadata").child("labels").key(&format!("{PREFIX}{name}"));
            errors.push(field::Error::invalid(&path, value, detail));
        };
        let mut policy = *defaults;
        let mut states_enforce = false;
        let modes = [
            (&mut policy.enforce, "enforce", "enforce-version", Level::Restricted),
            (&mut policy.audit, "audit", "audit-version", Level::Privileged),
            (&mut policy.warn, "warn", "warn-version", Level::Privileged),
        ];
        for (mode, level, version, when_wrong) in modes {
            if let Some(value) = find(level) {
                let parsed = Level::parse(value);
                states_enforce |= level == "enforce" && parsed.is_some();
                mode.level = parsed.unwrap_or_else(|| {
                    wrong(level, value, LEVEL_ERROR);
                    when_wrong
                });
            }
            if let Some(value) = find(version) {
                mode.version = Version::parse(value).unwrap_or_else(|| {
                    wrong(version, value, VERSION_ERROR);
                    Version::Latest
                });
            }
        }
        // Who is refused something is warned of it where it is asked for.
        if states_enforce && find("warn").is_none() && policy.enforce.level > policy.warn.level {
            policy.warn.level = policy.enforce.level;
            if find("warn-version").is_none() {
                policy.warn.version = policy.enforce.version;
            }
        }
        (policy, errors)
    }

    /// Whether nothing is forbidden, noted or warned of.
    pub fn is_fully_privileged(&self) -> bool {
        [self.enforce, self.audit, self.warn].iter().all(|mode| mode.level == Level::Privileged)
    }

    /// Whether the two forbid, note and warn of the same.
    pub fn is_equivalent(&self, other: &Self) -> bool {
        self.enforce.is_equivalent(other.enforce)
            && self.audit.is_equivalent(other.audit)
            && self.warn.is_equivalent(other.warn)
    }

    /// The modes that labels of a namespace state and that forbid something, as `enforce=baseline:latest, ...`.
    pub fn stated<'l>(&self, labels: impl Iterator<Item = (&'l str, &'l str)> + Clone) -> String {
        let modes = [("enforce", self.enforce), ("audit", self.audit), ("warn", self.warn)];
        let is_stated = |name: &str| {
            let mut keys = labels.clone().filter_map(|(key, _)| key.strip_prefix(PREFIX));
            keys.any(|key| key == name || key.strip_suffix("-version") == Some(name))
        };
        let shown = modes.iter().filter(|(name, mode)| mode.level != Level::Privileged && is_stated(name));
        shown.map(|(name, mode)| format!("{name}={mode}")).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(labels: &[(&str, &str)]) -> String {
        let keys: Vec<(String, &str)> = labels.iter().map(|(key, value)| (format!("{PREFIX}{key}"), *value)).collect();
        let labels = keys.iter().map(|(key, value)| (key.as_str(), *value));
        let (policy, errors) = Policy::of_labels(labels, &Policy::default());
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        format!("{} {} {} {}", policy.enforce, policy.audit, policy.warn, errors.join("; ")).trim_end().to_owned()
    }

    #[test]
    fn labels_state_a_policy() {
        for (labels, expected) in [
            (&[][..], "privileged:latest privileged:latest privileged:latest"),
            (&[("enforce", "baseline")], "baseline:latest privileged:latest baseline:latest"),
            (
                &[("enforce", "baseline"), ("enforce-version", "v1.20")],
                "baseline:v1.20 privileged:latest baseline:v1.20",
            ),
            (&[("enforce", "baseline"), ("warn", "restricted")], "baseline:latest privileged:latest restricted:latest"),
            (&[("enforce", "restricted"), ("warn", "baseline")], "restricted:latest privileged:latest baseline:latest"),
            (
                &[("enforce", "strict")],
                "restricted:latest privileged:latest privileged:latest \
                 metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: \"strict\": \
                 must be one of privileged, baseline, restricted",
            ),
            (
                &[("audit-version", "v2.0")],
                "privileged:latest privileged:latest privileged:latest \
                 metadata.labels[pod-security.kubernetes.io/audit-version]: Invalid value: \"v2.0\": \
                 must be \"latest\" or \"v1.x\"",
            ),
        ] {
            assert_eq!(policy(labels), expected, "{labels:?}");
        }
    }

    #[test]
    fn versions_are_plain() {
        for (text, is_valid) in
            [("latest", true), ("v1.0", true), ("v1.37", true), ("v1.01", false), ("v1.", false), ("1.2", false)]
        {
            assert_eq!(Version::parse(text).is_some(), is_valid, "{text}");
        }
    }
}
