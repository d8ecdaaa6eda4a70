//! `quadrille settings`: everything a process can be told, what it is told, and by whom.
use crate::screen::{Ink, Output, Screen, say, say_json};
use quadrille_runtime::config::{Config, Flags, SETTINGS, Setting};
use quadrille_runtime::entry::Failed;
use serde::Serialize;
use std::env;
use std::fmt::Write;

/// One setting as this process sees it.
#[derive(Debug, Serialize)]
struct Told {
    variable: &'static str,
    meaning: &'static str,
    default: &'static str,
    /// What is set; secrets are `***`.
    value: Option<String>,
    /// `default`, `variable`, or the file's path.
    from: String,
    secret: bool,
}

/// Prints all settings, and then what is wrong with them.
///
/// # Errors
/// If one of them is wrong.
pub fn print(output: Output) -> Result<(), Failed> {
    let all: Vec<_> = SETTINGS.iter().map(|setting| told(setting, variable)).collect();
    match output {
        Output::Json => say_json(&all)?,
        Output::Text => say(drawn(&all, Screen::of_stdout()))?,
    }
    Config::read(&Flags::default()).map_err(Failed::config)?;
    Ok(())
}

/// Who is at the keyboard, as far as that is known: noted with decisions.
pub fn person() -> String {
    let names = ["SUDO_USER", "USER", "LOGNAME"].into_iter().filter_map(variable);
    let uid = || format!("uid {}", rustix::process::getuid().as_raw());
    names.into_iter().next().unwrap_or_else(uid)
}

fn variable(name: &str) -> Option<String> {
    let value = env::var_os(name)?.to_string_lossy().into_owned();
    (!value.is_empty()).then_some(value)
}

fn told(setting: &Setting, variable: impl Fn(&str) -> Option<String>) -> Told {
    let &Setting { variable: name, secret, default, meaning } = setting;
    let file = if secret { variable(&format!("{name}_FILE")) } else { None };
    let (value, from) = match (variable(name), file) {
        (Some(_), _) if secret => (Some("***".to_owned()), "variable".to_owned()),
        (Some(value), _) => (Some(value), "variable".to_owned()),
        (None, Some(file)) => (Some("***".to_owned()), format!("file {file}")),
        (None, None) => (None, "default".to_owned()),
    };
    Told { variable: name, meaning, default, value, from, secret }
}

fn drawn(all: &[Told], screen: Screen) -> String {
    let mut text = String::new();
    let mut line = |line: &str| writeln!(text, "{line}").expect("a String takes all");
    for Told { variable, meaning, default, value, from, secret } in all {
        let value = match value {
            None => screen.paint(Ink::Dim, &format!("{default} (default)")),
            Some(value) => format!("{} (from {from})", screen.paint(Ink::Good, value)),
        };
        line(&format!("{} = {value}", screen.paint(Ink::Strong, variable)));
        let secret = if *secret { " (secret)" } else { "" };
        line(&format!("    {meaning}{secret}"));
    }
    line("");
    line("Flags win over variables. Any other QUADRILLE_* variable is an error.");
    line("A secret may be in a file that the variable with _FILE behind it names,");
    line("as in QUADRILLE_AMQP_URL_FILE=/run/secrets/amqp.");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(set: &[(&str, &str)]) -> String {
        let variable = |name: &str| {
            set.iter().find(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned())
        };
        let all: Vec<_> = SETTINGS.iter().map(|setting| told(setting, variable)).collect();
        drawn(&all, Screen::plain()) + &serde_json::to_string(&all).unwrap()
    }

    #[test]
    fn a_secret_is_said_to_be_set_and_not_shown() {
        let text = said(&[("QUADRILLE_AMQP_URL", "amqp://user:canary@host")]);
        assert!(text.contains("QUADRILLE_AMQP_URL = *** (from variable)"), "{text}");
        assert!(!text.contains("canary"), "{text}");
    }

    #[test]
    fn each_setting_says_where_its_value_is_from() {
        let set = [("QUADRILLE_LOG", "debug"), ("QUADRILLE_PAYMENT_KEY_FILE", "/run/key")];
        let text = said(&set);
        assert!(text.contains("QUADRILLE_LOG = debug (from variable)"), "{text}");
        assert!(text.contains("QUADRILLE_PAYMENT_KEY = *** (from file /run/key)"), "{text}");
        assert!(text.contains("QUADRILLE_BATCH_MAX = 256 (default)"), "{text}");
    }
}
