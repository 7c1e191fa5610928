//! The traps among a fleet's documents, each with what a good migration makes of it.
//!
//! What must hold: each trap is a row (or a file without one) that a careless tool loses, skips in silence or moves wrongly. The
//! expectations hold for a migration from disk to bucket with default settings on the fleet at rest.

use super::fleet::{Fleet, write_file};
use super::rows::{self, Document, ProcessedImage};
use super::words;
use crate::Rng;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

/// What becomes of a trap.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Expect {
    /// Its bytes arrive at this key, and its row says so.
    Moves {
        /// The key.
        key: String,
    },
    /// Nothing of it changes, and it is named among the exceptions.
    Stays(Flaw),
    /// Nothing of it changes, and that is as it should be.
    Kept,
    /// Nothing of it changes in a migration; an audit names it.
    Audited(Flaw),
}

/// Why a file cannot be moved, or what an audit finds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Flaw {
    /// There is no file.
    Missing,
    /// The row says that there are bytes, and there are none.
    Empty,
    /// The file is shorter than the row says.
    Truncated,
    /// The file is as long as the row says, or longer, and is another one.
    Differs,
    /// It is a folder or a pipe.
    NotAFile,
    /// It is a link to a place outside the upload path.
    LinkOutside,
    /// The key would have more than 1,024 bytes.
    KeyTooLong,
    /// The row's path was bent by a REPLACE; the file is in the bucket.
    Bent,
    /// The row has an empty path.
    NoPath,
    /// The row says that the file is in the bucket, and it is not.
    NoObject,
    /// No row knows the file.
    NoRow,
}

/// One trap.
#[derive(Clone, Debug)]
pub struct Trap {
    /// Its name, unique in the fleet.
    pub name: &'static str,
    /// The table of its row; empty for a file without one.
    pub table: &'static str,
    /// The row's id, or the file's path on this machine where there is no row.
    pub id: String,
    /// The path as the row has it.
    pub path: String,
    /// The bytes it has on disk or in the bucket, if any.
    pub content: Option<Vec<u8>>,
    /// What becomes of it.
    pub expect: Expect,
}

/// Gathers traps, and the objects that have to be in the bucket for them.
struct Setter<'a> {
    fleet: &'a mut Fleet,
    rng: Rng,
    traps: Vec<Trap>,
    objects: Vec<(String, Vec<u8>)>,
}

impl Fleet {
    /// Adds every trap; returns them, and the objects (key, bytes) that the caller puts into the bucket beforehand.
    ///
    /// # Panics
    /// If a file cannot be written or a row is refused.
    pub fn traps(&mut self) -> (Vec<Trap>, Vec<(String, Vec<u8>)>) {
        let rng = Rng::new(self.rng.next_u64());
        let mut setter = Setter {
            fleet: self,
            rng,
            traps: Vec::new(),
            objects: Vec::new(),
        };
        setter.lost_and_damaged();
        setter.sound_after_all();
        setter.names();
        setter.shared_files();
        setter.not_plain_files();
        setter.old_places();
        setter.in_the_bucket();
        setter.other_tables();
        setter.without_rows();
        (setter.traps, setter.objects)
    }
}

impl Setter<'_> {
    /// A sound document of 2,000 bytes, its file written, its row not yet.
    fn sound(&mut self) -> (Document, Vec<u8>) {
        let content = words::bytes(&mut self.rng, 2000);
        let mut document = self.fleet.draw(&mut self.rng);
        // Of all kinds, a portable document is what most rules are about.
        self.rename(&mut document, "pdf", "pdf");
        document.mime = "application/pdf".into();
        self.fleet.store(&mut document, &content);
        (document, content)
    }

    /// Gives a document another extension, in its name and in its path; no extension is an empty one.
    fn rename(&self, document: &mut Document, extension: &str, on_disk: &str) {
        let stem = document
            .filename
            .rsplit_once('.')
            .map_or(document.filename.as_str(), |(stem, _)| stem);
        let dotted = |extension: &str| match extension {
            "" => String::new(),
            _ => format!(".{extension}"),
        };
        document.filename = format!("{stem}{}", dotted(extension));
        let name = format!("documents/{}{}", document.id, dotted(on_disk));
        document.path = format!("{}/{name}", self.fleet.shown);
        document.file = self.fleet.uploads.join(name);
    }

    fn set(
        &mut self,
        name: &'static str,
        document: &Document,
        content: Option<Vec<u8>>,
        expect: Expect,
    ) {
        rows::insert_documents(&self.fleet.database, [document]);
        self.traps.push(Trap {
            name,
            table: "documents",
            id: document.id.clone(),
            path: document.path.clone(),
            content,
            expect,
        });
    }

    fn moves(&mut self, name: &'static str, document: &Document, content: Vec<u8>) {
        let key = document.key();
        self.set(name, document, Some(content), Expect::Moves { key });
    }

    fn lost_and_damaged(&mut self) {
        let (lost, _) = self.sound();
        remove(&lost);
        self.set("missing", &lost, None, Expect::Stays(Flaw::Missing));
        for (name, flaw, spoil) in [
            (
                "emptied",
                Flaw::Empty,
                (|content| content.clear()) as fn(&mut Vec<u8>),
            ),
            ("truncated", Flaw::Truncated, |content| {
                content.truncate(1000)
            }),
            ("grown", Flaw::Differs, |content| content.push(7)),
            ("flipped", Flaw::Differs, |content| content[5] ^= 1),
        ] {
            let (document, mut content) = self.sound();
            spoil(&mut content);
            write_file(&document.file, &content, document.created);
            self.set(name, &document, Some(content), Expect::Stays(flaw));
        }
    }

    fn sound_after_all(&mut self) {
        let (mut empty, _) = self.sound();
        self.fleet.store(&mut empty, b"");
        self.moves("empty", &empty, Vec::new());
        // Readur turns pictures upright after it has noted their length and digest.
        let (mut picture, _) = self.sound();
        remove(&picture);
        self.rename(&mut picture, "jpg", "jpg");
        picture.mime = "image/jpeg".into();
        let turned = words::bytes(&mut self.rng, 1500);
        write_file(&picture.file, &turned, picture.created);
        self.moves("turned-picture", &picture, turned);
        let (mut old, content) = self.sound();
        old.hash = None;
        self.moves("no-hash", &old, content);
        let (mut nobodys, content) = self.sound();
        nobodys.user = None;
        self.moves("no-user", &nobodys, content);
    }

    fn names(&mut self) {
        // On disk Readur writes `_` for the characters that some file systems refuse; in the key it does not.
        for (name, stem, extension, on_disk) in [
            ("no-extension", "plain", "", ""),
            ("unicode", "Überweisung – 東京 ☂", "ſcan", "ſcan"),
            ("quotes", "it's \"so\"", "p d'f\"", "p d'f_"),
            ("url-characters", "100% + #1", "a%20b+c#d?e", "a%20b+c#d_e"),
            ("backslash", "C:\\temp\\x", "p\\df", "p\\df"),
            (
                "long-extension",
                "x",
                "abcdefghijabcdefghijabcdefghijabcdefghij",
                "abcdefghijabcdefghijabcdefghijabcdefghij",
            ),
        ] {
            let (mut document, content) = self.sound();
            remove(&document);
            document.filename = format!("{stem}.pdf");
            self.rename(&mut document, extension, on_disk);
            write_file(&document.file, &content, document.created);
            self.moves(name, &document, content);
        }
        // 253 letters of four bytes make a key of 1,104 bytes, although path and name are short enough in letters.
        let (mut long, content) = self.sound();
        long.filename = format!("x.{}", "\u{1d54f}".repeat(253));
        self.set(
            "key-too-long",
            &long,
            Some(content),
            Expect::Stays(Flaw::KeyTooLong),
        );
    }

    fn shared_files(&mut self) {
        let (first, content) = self.sound();
        let (mut second, _) = self.sound();
        remove(&second);
        (second.path, second.file) = (first.path.clone(), first.file.clone());
        second.hash = None;
        self.moves("one-file-first", &first, content.clone());
        self.moves("one-file-second", &second, content);
        // Equal bytes in two files; one user may have them twice only without a digest.
        let (one, content) = self.sound();
        let (mut other, _) = self.sound();
        self.fleet.store(&mut other, &content);
        other.hash = None;
        self.moves("one-content-first", &one, content.clone());
        self.moves("one-content-second", &other, content);
    }

    fn not_plain_files(&mut self) {
        let (folder, _) = self.sound();
        remove(&folder);
        fs::create_dir(&folder.file).expect("a folder in place of a file");
        self.set("folder", &folder, None, Expect::Stays(Flaw::NotAFile));
        let (pipe, _) = self.sound();
        remove(&pipe);
        let made = Command::new("mkfifo").arg(&pipe.file).status();
        assert!(
            made.is_ok_and(|status| status.success()),
            "a pipe can be made"
        );
        self.set("pipe", &pipe, None, Expect::Stays(Flaw::NotAFile));
        // The links are relative, so that the tree can be looked at from inside a container too.
        for (name, target) in [
            ("link-inside", "../temp"),
            ("link-outside", "../../elsewhere"),
        ] {
            let (document, content) = self.sound();
            let folder = self.fleet.uploads.join("documents").join(target);
            fs::create_dir_all(&folder).expect("a folder to link to");
            let bytes = format!("{}.bytes", document.id);
            fs::rename(&document.file, folder.join(&bytes)).expect("the file moves away");
            symlink(format!("{target}/{bytes}"), &document.file).expect("a link takes its place");
            match name {
                "link-inside" => self.moves(name, &document, content),
                _ => self.set(
                    name,
                    &document,
                    Some(content),
                    Expect::Stays(Flaw::LinkOutside),
                ),
            }
        }
        let (dangling, _) = self.sound();
        remove(&dangling);
        symlink("nowhere.pdf", &dangling.file).expect("a link to nothing");
        self.set(
            "link-dangling",
            &dangling,
            None,
            Expect::Stays(Flaw::Missing),
        );
    }

    /// Paths of earlier versions of Readur, each found by the rules by which Readur itself finds it.
    fn old_places(&mut self) {
        let shown = self.fleet.shown.clone();
        for (name, form) in [
            ("flat-relative", "./uploads/NAME"),
            ("relative", "uploads/documents/NAME"),
            ("bare", "documents/NAME"),
            ("bare-name", "NAME"),
            // Each start of Readur moves files from the upload path into documents/, and leaves such rows behind.
            ("flat-absolute", "SHOWN/NAME"),
        ] {
            let (mut document, content) = self.sound();
            // The file has an id of its own, as all had before the summer of 2025; so has its thumbnail.
            let own = words::uuid(&mut self.rng);
            let file = self.fleet.uploads.join(format!("documents/{own}.pdf"));
            fs::rename(&document.file, &file).expect("the file gets its old name");
            document.file = file;
            document.path = form
                .replace("NAME", &format!("{own}.pdf"))
                .replace("SHOWN", &shown);
            let thumbnail = self
                .fleet
                .uploads
                .join(format!("thumbnails/{own}_thumb.jpg"));
            write_file(&thumbnail, b"a small picture", document.created + 60);
            self.moves(name, &document, content);
        }
    }

    fn in_the_bucket(&mut self) {
        let (mut moved, content) = self.sound();
        remove(&moved);
        let key = moved.key();
        moved.path = format!("s3://{key}");
        self.objects.push((key, content.clone()));
        self.set("in-the-bucket", &moved, Some(content), Expect::Kept);
        let (mut lost, _) = self.sound();
        remove(&lost);
        lost.path = format!("s3://{}", lost.key());
        self.set(
            "not-in-the-bucket",
            &lost,
            None,
            Expect::Audited(Flaw::NoObject),
        );
        let (mut bent, content) = self.sound();
        remove(&bent);
        let key = bent.key();
        bent.path = format!("/app/uploads/{key}");
        self.objects.push((key, content.clone()));
        self.set("bent", &bent, Some(content), Expect::Stays(Flaw::Bent));
        // An interrupted run of any tool leaves this: the object is there, and equal.
        let (half, content) = self.sound();
        self.objects.push((half.key(), content.clone()));
        self.moves("object-there-already", &half, content);
    }

    fn other_tables(&mut self) {
        let (document, content) = self.sound();
        let image = ProcessedImage {
            id: words::uuid(&mut self.rng),
            document: document.id.clone(),
            user: document.user.clone().expect("a drawn document has a user"),
            original: document.path.clone(),
            path: format!(
                "{}/processed_images/{}_processed_1.png",
                self.fleet.shown, document.id
            ),
            file: PathBuf::new(),
            size: 10,
            created: document.created,
        };
        self.moves("with-a-lost-image", &document, content);
        rows::insert_images(&self.fleet.database, [&image]);
        self.traps.push(Trap {
            name: "lost-image",
            table: "processed_images",
            id: image.id,
            path: image.path,
            content: None,
            expect: Expect::Stays(Flaw::Missing),
        });
        let (mut pathless, _) = self.sound();
        remove(&pathless);
        pathless.path.clear();
        self.set("no-path", &pathless, None, Expect::Audited(Flaw::NoPath));
        let id = words::uuid(&mut self.rng);
        let path = format!("{}/documents/{id}.pdf", self.fleet.shown);
        let user = self.fleet.users[0].clone();
        rows::insert_ignored(&self.fleet.database, &id, &path, &user);
        self.traps.push(Trap {
            name: "ignored-file",
            table: "ignored_files",
            id,
            path,
            content: None,
            expect: Expect::Kept,
        });
    }

    fn without_rows(&mut self) {
        for (name, below, expect) in [
            (
                "orphan",
                "documents/orphan.pdf",
                Expect::Audited(Flaw::NoRow),
            ),
            (
                "orphan-thumbnail",
                "thumbnails/orphan_thumb.jpg",
                Expect::Audited(Flaw::NoRow),
            ),
            ("temporary", "temp/half-an-upload", Expect::Kept),
            ("backup", "backups/nightly.tar", Expect::Kept),
        ] {
            let file = self.fleet.uploads.join(below);
            let content = words::bytes(&mut self.rng, 300);
            write_file(&file, &content, words::FIRST_SECOND);
            self.traps.push(Trap {
                name,
                table: "",
                id: file.display().to_string(),
                path: String::new(),
                content: Some(content),
                expect,
            });
        }
    }
}

fn remove(document: &Document) {
    fs::remove_file(&document.file)
        .unwrap_or_else(|error| panic!("{}: {error}", document.file.display()));
}
