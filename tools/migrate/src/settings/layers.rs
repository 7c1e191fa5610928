//! The layers a setting is looked for in: flags, the environment, the application's `.env` file.
//!
//! What must hold: the environment wins over the file, as in the application; every value can say where it came from; a value
//! never appears in an error.
//!
//! What it deliberately does not do: write to the environment of this process.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use console::{Env, Exit, Failure, Origin, Setting};

/// The environment with the application's `.env` file below it.
#[derive(Clone, Debug)]
pub struct Layers {
    env: Env,
    file: Option<(PathBuf, Env)>,
}

impl Layers {
    /// Reads the nearest `.env` file, in the working directory or above it, where the application looks too.
    ///
    /// # Errors
    /// If the file is there and cannot be read or understood.
    pub fn load(env: &Env, working_directory: &Path) -> Result<Self, Failure> {
        let found = working_directory
            .ancestors()
            .map(|directory| directory.join(".env"))
            .find(|path| path.is_file());
        let file = found.map(read).transpose()?;
        Ok(Self {
            env: env.clone(),
            file,
        })
    }

    /// Returns a variable that is set and not empty.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Setting<String>> {
        self.get_even_empty(name)
            .filter(|setting| !setting.value.is_empty())
    }

    /// Returns a variable even if it is set to nothing.
    #[must_use]
    pub fn get_even_empty(&self, name: &str) -> Option<Setting<String>> {
        if let Some(value) = self.env.get_even_empty(name) {
            let origin = Origin::Environment(name.to_owned());
            return Some(Setting::new(value.to_owned(), origin));
        }
        let (path, file) = self.file.as_ref()?;
        let value = file.get_even_empty(name)?;
        Some(Setting::new(value.to_owned(), Origin::File(path.clone())))
    }

    /// Returns everything as one environment, for the store's own look-ups.
    #[must_use]
    pub fn merged(&self) -> Env {
        let below = self.file.iter().flat_map(|(_, file)| file.iter());
        let pairs: BTreeMap<&str, &str> = below.chain(self.env.iter()).collect();
        Env::from_pairs(pairs)
    }
}

fn read(path: PathBuf) -> Result<(PathBuf, Env), Failure> {
    let lines = dotenvy::from_path_iter(&path).map_err(|error| broken(&path, error))?;
    let mut pairs = BTreeMap::new();
    for line in lines {
        let (name, value) = line.map_err(|error| broken(&path, error))?;
        // The first one wins, as in the application.
        pairs.entry(name).or_insert(value);
    }
    Ok((path, Env::from_pairs(pairs)))
}

fn broken(path: &Path, error: dotenvy::Error) -> Failure {
    let place = path.display();
    match error {
        dotenvy::Error::Io(error) => Failure::io("read", path, &error).with_exit(Exit::Config),
        // The library's text holds the whole line, which may be a secret.
        dotenvy::Error::LineParse(line, at) => {
            let name = line.split('=').next().unwrap_or_default().trim();
            Failure::config(format!(
                "the line of {place} that begins with `{name}` is not understood, at its character {at}"
            ))
            .hint("write NAME=value, with quotes around a value that holds blanks or #")
        }
        _ => Failure::config(format!("{place} is not understood")).hint("write NAME=value lines"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layers(file: &str, env: &[(&str, &str)]) -> Result<Layers, Failure> {
        let directory = tempfile::tempdir().expect("temporary directory");
        std::fs::write(directory.path().join(".env"), file).expect("writes");
        Layers::load(&Env::from_pairs(env.iter().copied()), directory.path())
    }

    #[test]
    fn the_environment_wins_even_if_empty() {
        let layers =
            layers("A=file\nB=file\nC='x y'\n", &[("A", "env"), ("B", "")]).expect("loads");
        let shown = |name| layers.get(name).map(|setting| setting.value);
        assert_eq!(shown("A").as_deref(), Some("env"));
        assert_eq!(shown("B"), None);
        assert_eq!(shown("C").as_deref(), Some("x y"));
        assert_eq!(layers.merged().get("C"), Some("x y"));
        assert_eq!(layers.merged().get("A"), Some("env"));
    }

    #[test]
    fn a_broken_line_is_named_without_its_value() {
        let failure = layers("S3_SECRET_ACCESS_KEY='horse\n", &[]).expect_err("refuses");
        let text = failure.render(false);
        assert!(text.contains("S3_SECRET_ACCESS_KEY"), "{text}");
        assert!(!text.contains("horse"), "{text}");
        assert_eq!(failure.exit(), Exit::Config);
    }
}
