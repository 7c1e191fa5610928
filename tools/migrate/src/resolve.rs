//! Where a row's file is on this machine: the application's own way of looking for it, with paths of another machine mapped.
//!
//! What must hold: the first place that has something decides, as in the application; nothing is opened or changed; a file
//! behind a symbolic link that leads out of the upload path is found only by choice, and one behind a `..` that does never.
//!
//! It deliberately reads no file: whether it is what the row says is found out while it is copied.

use crate::db::Row;
use crate::keys;
use crate::mapping::{Derived, Lookup, Mapping};
use std::fmt;
use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};
use transfer::stays_inside;

/// What to do about symbolic links.
///
/// A link may lead to a file that is not the application's: copying what it leads to hands that to everyone who can read the
/// bucket. Readur serves such files all the same, so it can be asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Symlinks {
    /// Follow links that stay below the upload path; others are exceptions.
    #[default]
    Inside,
    /// Follow every link.
    All,
    /// Follow none; every link is an exception.
    Refuse,
}

/// A path of the machine where the application runs, and the same one here: `/app/uploads=/srv/readur/uploads`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathMap {
    /// How paths start in the database.
    pub from: String,
    /// How the same paths start here.
    pub to: PathBuf,
}

impl std::str::FromStr for PathMap {
    type Err = String;

    fn from_str(text: &str) -> Result<PathMap, String> {
        match text.split_once('=') {
            Some((from, to)) if !from.is_empty() && !to.is_empty() => Ok(PathMap {
                from: from.to_owned(),
                to: PathBuf::from(to),
            }),
            _ => Err(format!(
                "`{text}` is no pair of paths; write it as /path/in/database=/path/here"
            )),
        }
    }
}

/// How paths are looked up.
#[derive(Clone, Debug)]
pub struct Paths {
    /// The upload path as the application has it: `./uploads`, `/app/uploads`.
    pub upload: String,
    /// The directory that relative paths start from: the application's working directory.
    pub base: PathBuf,
    /// Paths of the application's machine and the same ones here; the longest that fits is taken.
    pub maps: Vec<PathMap>,
    /// What to do about symbolic links.
    pub symlinks: Symlinks,
}

/// What was found for a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A file.
    File(FoundFile),
    /// Nothing anywhere.
    Missing {
        /// Where it should have been, here.
        path: PathBuf,
    },
    /// Something that is no file.
    NotAFile {
        /// Where it is.
        path: PathBuf,
        /// What it is: a directory, a socket.
        what: &'static str,
    },
    /// A link that is not to be followed.
    Refused {
        /// Where it is.
        path: PathBuf,
        /// Where it leads.
        target: PathBuf,
    },
    /// A path that leaves by `..` the directory that it begins in. It was not looked at.
    Leaves {
        /// What is written, here.
        path: PathBuf,
    },
    /// A link to nothing.
    Dangling {
        /// Where it is.
        path: PathBuf,
        /// Where it leads.
        target: PathBuf,
    },
    /// It could not be looked at.
    Denied {
        /// Where it is.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// A file that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its length in bytes.
    pub size: u64,
    /// Whether it is not where the row says, but where the application looks next.
    pub is_legacy: bool,
    /// Whether a symbolic link was followed.
    pub is_link: bool,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Found::File(file) => write!(f, "{} is a file", file.path.display()),
            Found::Missing { path } => write!(f, "{} is not there", path.display()),
            Found::NotAFile { path, what } => write!(f, "{} is {what}", path.display()),
            Found::Refused { path, target } => {
                write!(
                    f,
                    "{} is a link that leads to {}",
                    path.display(),
                    target.display()
                )
            }
            Found::Leaves { path } => {
                write!(
                    f,
                    "{} leads out of the upload directory by `..`, so it was not looked at",
                    path.display()
                )
            }
            Found::Dangling { path, target } => {
                write!(
                    f,
                    "{} is a link to {}, which is not there",
                    path.display(),
                    target.display()
                )
            }
            Found::Denied { path, reason } => {
                write!(f, "{} cannot be looked at: {reason}", path.display())
            }
        }
    }
}

impl Paths {
    /// Returns the upload path without a slash at its end.
    #[must_use]
    pub fn upload(&self) -> &str {
        match self.upload.trim_end_matches('/') {
            "" => "/",
            trimmed => trimmed,
        }
    }

    /// Returns every way in which somebody may write the upload path: as the application has it, with and without `./`, and as it is on this
    /// machine or another that a path map names.
    #[must_use]
    pub fn upload_spellings(&self) -> Vec<String> {
        let upload = self.upload();
        let bare = upload.trim_start_matches("./");
        let mut all = vec![upload.to_owned(), bare.to_owned()];
        if !bare.starts_with('/') {
            all.push(format!("./{bare}"));
        }
        all.push(self.upload_here().to_string_lossy().into_owned());
        for map in &self.maps {
            all.push(map.from.trim_end_matches('/').to_owned());
            all.push(map.to.to_string_lossy().trim_end_matches('/').to_owned());
        }
        all
    }

    /// Returns where a path of the database is here.
    #[must_use]
    pub fn here(&self, path: &str) -> PathBuf {
        let mut best: Option<(&PathMap, &str)> = None;
        for map in &self.maps {
            if let Some(rest) = below(path, &map.from)
                && best.is_none_or(|(other, _)| other.from.len() < map.from.len())
            {
                best = Some((map, rest));
            }
        }
        match best {
            Some((map, "")) => map.to.clone(),
            Some((map, rest)) => map.to.join(rest),
            None => self.base.join(path),
        }
    }

    /// Returns where the upload path is here.
    #[must_use]
    pub fn upload_here(&self) -> PathBuf {
        self.here(self.upload())
    }

    /// Tells whether a path here is written as one below the upload path, or below where a path map leads.
    #[must_use]
    pub fn is_below(&self, path: &Path) -> bool {
        let maps = self.maps.iter().map(|map| map.to.clone());
        let mut roots = std::iter::once(self.upload_here()).chain(maps);
        roots.any(|root| path.strip_prefix(root).is_ok_and(stays_inside))
    }

    /// Tells whether a path has a `..` by which it leaves the upload path, or what a path map leads to, or begins in neither.
    fn leaves(&self, place: &Path) -> bool {
        let mut parts = place.components();
        parts.any(|part| part == Component::ParentDir) && !self.is_below(place)
    }

    /// Returns the upload path as rows are to have it: as the application has it, and so against the direction of the path maps if it was given
    /// as it is here. None if there are path maps and none leads to it or from it.
    #[must_use]
    pub fn upload_in_rows(&self) -> Option<String> {
        let upload = self.upload();
        let is_told = |map: &PathMap| below(upload, &map.from).is_some();
        // One that leads to itself only says where files may be changed.
        let is_elsewhere = |map: &PathMap| Path::new(&map.from) != map.to;
        if self.maps.iter().any(is_told) || !self.maps.iter().any(is_elsewhere) {
            return Some(upload.to_owned());
        }
        let here = self.upload_here();
        let fits = self.maps.iter().filter_map(|map| {
            let to = self.base.join(&map.to);
            let rest = here.strip_prefix(&to).ok()?.to_str()?.to_owned();
            Some((to.components().count(), map, rest))
        });
        let (_, map, rest) = fits.max_by_key(|(length, ..)| *length)?;
        let from = map.from.trim_end_matches('/');
        Some(match rest.as_str() {
            "" => from.to_owned(),
            rest => format!("{from}/{rest}"),
        })
    }

    /// Looks for a row's file, as the application does.
    #[must_use]
    pub fn find(&self, mapping: &Mapping, row: &Row) -> Found {
        self.first(self.candidates(mapping, row))
    }

    /// Looks for a derived file of a row. `None` if there is none, which is nothing to worry about.
    #[must_use]
    pub fn find_derived(&self, derived: &Derived, row: &Row) -> Option<FoundFile> {
        let values = keys::values(row, self.upload());
        let places = derived
            .paths
            .iter()
            .map(|form| self.here(&form.fill(&values)));
        match self.first(places.collect()) {
            Found::File(file) => Some(file),
            _ => None,
        }
    }

    /// Returns every place where a row's file may be, the likeliest first, none twice.
    #[must_use]
    pub fn candidates(&self, mapping: &Mapping, row: &Row) -> Vec<PathBuf> {
        let mut places = vec![match mapping.relative_paths {
            true => self.here(&format!("{}/{}", self.upload(), row.path)),
            false => self.here(&row.path),
        }];
        for lookup in &mapping.lookups {
            if let Some(place) = self.place(lookup, row)
                && !places.contains(&place)
            {
                places.push(place);
            }
        }
        places
    }

    fn place(&self, lookup: &Lookup, row: &Row) -> Option<PathBuf> {
        let rest = row.path.strip_prefix(&lookup.prefix)?;
        if lookup
            .unless
            .as_deref()
            .is_some_and(|text| row.path.contains(text))
        {
            return None;
        }
        let mut values = keys::values(row, self.upload());
        values.rest = rest;
        Some(self.here(&lookup.form.fill(&values)))
    }

    fn first(&self, places: Vec<PathBuf>) -> Found {
        let mut first_trouble = None;
        for (n, place) in places.iter().enumerate() {
            match self.look(place, n > 0) {
                Found::Missing { .. } => {}
                found @ Found::File(_) => return found,
                trouble => {
                    first_trouble.get_or_insert(trouble);
                }
            }
        }
        first_trouble.unwrap_or_else(|| Found::Missing {
            path: places.into_iter().next().unwrap_or_default(),
        })
    }

    fn look(&self, place: &Path, is_legacy: bool) -> Found {
        let path = place.to_owned();
        if self.leaves(place) {
            return Found::Leaves { path };
        }
        let link = match fs::symlink_metadata(place) {
            Ok(metadata) => metadata.is_symlink(),
            Err(error) => return absent(path, &error),
        };
        if link && self.symlinks == Symlinks::Refuse {
            return Found::Refused {
                target: leads_to(place),
                path,
            };
        }
        let metadata = match fs::metadata(place) {
            Ok(metadata) => metadata,
            Err(error) if link && error.kind() == ErrorKind::NotFound => {
                return Found::Dangling {
                    target: leads_to(place),
                    path,
                };
            }
            Err(error) => return absent(path, &error),
        };
        if !metadata.is_file() {
            return Found::NotAFile {
                what: what_is(&metadata),
                path,
            };
        }
        match self.leaves_upload(place, link) {
            Some(target) if self.symlinks != Symlinks::All => Found::Refused { path, target },
            _ => Found::File(FoundFile {
                path,
                size: metadata.len(),
                is_legacy,
                is_link: link,
            }),
        }
    }

    /// Returns where a path really leads if a link takes it out of the upload path.
    fn leaves_upload(&self, place: &Path, is_link: bool) -> Option<PathBuf> {
        let upload = self.upload_here();
        if !is_link && !place.starts_with(&upload) {
            // It never was below the upload path: an old absolute path of the application's own.
            return None;
        }
        let real = fs::canonicalize(place).ok()?;
        let root = fs::canonicalize(&upload).unwrap_or(upload);
        (!real.starts_with(root)).then_some(real)
    }
}

/// Where files really are, however their paths are written: `//`, `/./`, `..` and links on the way are the same folder. The name at the end stays, for a
/// link is a file of its own.
#[derive(Debug, Default)]
pub struct Settled {
    folders: std::collections::HashMap<PathBuf, PathBuf>,
}

impl Settled {
    /// Returns the path of a file by the folder that it is really in.
    pub fn place(&mut self, path: &Path) -> PathBuf {
        let (Some(above), Some(name)) = (path.parent(), path.file_name()) else {
            return path.to_owned();
        };
        if let Some(folder) = self.folders.get(above) {
            return folder.join(name);
        }
        let folder = fs::canonicalize(above).unwrap_or_else(|_| above.to_owned());
        let place = folder.join(name);
        self.folders.insert(above.to_owned(), folder);
        place
    }
}

/// Returns what comes after a prefix, if the prefix ends at a slash or at the path's end.
fn below<'a>(path: &'a str, prefix: &str) -> Option<&'a str> {
    let rest = path.strip_prefix(prefix.trim_end_matches('/'))?;
    if rest.is_empty() {
        return Some(rest);
    }
    rest.strip_prefix('/')
        .map(|rest| rest.trim_start_matches('/'))
}

fn absent(path: PathBuf, error: &std::io::Error) -> Found {
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::InvalidInput => {
            Found::Missing { path }
        }
        _ if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            Found::NotAFile {
                path,
                what: "a link that leads in a circle",
            }
        }
        // A name longer than the file system takes cannot be there.
        _ if error.raw_os_error() == Some(rustix::io::Errno::NAMETOOLONG.raw_os_error()) => {
            Found::Missing { path }
        }
        _ => Found::Denied {
            path,
            reason: error.to_string(),
        },
    }
}

fn leads_to(link: &Path) -> PathBuf {
    fs::read_link(link).unwrap_or_default()
}

fn what_is(metadata: &Metadata) -> &'static str {
    if metadata.is_dir() {
        "a directory"
    } else {
        "no ordinary file"
    }
}

#[cfg(test)]
mod tests;
