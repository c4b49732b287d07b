//! Attack 16: every wrong key file is refused, and none is ever replaced.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use tempfile::TempDir;

use super::*;

fn folder() -> (TempDir, KeyFile) {
    let folder = TempDir::new().unwrap();
    let file = KeyFile::new(folder.path().join("vault.key"));
    (folder, file)
}

fn write(file: &KeyFile, content: &str, mode: u32) {
    fs::write(&file.0, content).unwrap();
    fs::set_permissions(&file.0, fs::Permissions::from_mode(mode)).unwrap();
}

fn line(bytes: &[u8]) -> String {
    format!(
        "SVKEK1 0199a9f0-0000-4000-8000-000000000001 {}\n",
        STANDARD.encode(bytes)
    )
}

#[test]
fn a_new_key_file_is_private_complete_and_read_back() {
    let (folder, file) = folder();
    let made = file.create().unwrap();
    let read = file.load().unwrap();
    assert_eq!(read.reference, made.reference);
    assert_eq!(read.key.expose(), made.key.expose());
    assert_eq!(fs::metadata(&file.0).unwrap().mode() & 0o7777, 0o600);
    let names: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(names.len(), 1, "no draft is left: {names:?}");
}

#[test]
fn a_key_file_is_never_made_over_another() {
    let (folder, file) = folder();
    let first = file.create().unwrap();
    assert!(matches!(file.create(), Err(KeyFileError::Exists(_))));
    assert_eq!(file.load().unwrap().key.expose(), first.key.expose());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_missing_key_file_is_said_to_be_missing() {
    let (_folder, file) = folder();
    assert!(matches!(file.load(), Err(KeyFileError::Missing(_))));
}

#[test]
fn attack_16_a_file_that_others_can_touch_is_refused() {
    let (_folder, file) = folder();
    for mode in [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o666, 0o644] {
        write(&file, &line(&[7; 32]), mode);
        assert!(
            matches!(file.load(), Err(KeyFileError::Mode(_))),
            "{mode:o}"
        );
    }
    for mode in [0o600, 0o400] {
        write(&file, &line(&[7; 32]), 0o600);
        fs::set_permissions(&file.0, fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(file.load().unwrap().key.expose(), &[7; 32]);
    }
}

#[test]
fn attack_16_a_symbolic_link_or_a_folder_is_refused() {
    let (folder, file) = folder();
    let real = folder.path().join("real");
    write(&KeyFile::new(real.clone()), &line(&[7; 32]), 0o600);
    symlink(&real, &file.0).unwrap();
    assert!(matches!(file.load(), Err(KeyFileError::NotAFile(_))));
    assert!(
        matches!(file.create(), Err(KeyFileError::Exists(_))),
        "nor is a link followed"
    );
    fs::remove_file(&file.0).unwrap();
    fs::create_dir(&file.0).unwrap();
    assert!(matches!(file.load(), Err(KeyFileError::NotAFile(_))));
}

#[test]
fn attack_16_a_key_of_another_form_is_refused() {
    let (_folder, file) = folder();
    let id = "0199a9f0-0000-4000-8000-000000000001";
    let good = STANDARD.encode([7; 32]);
    let bad = [
        String::new(),
        "correct horse battery staple\n".to_owned(),
        line(&[7; 31]),
        line(&[7; 33]),
        line(&[]),
        format!("SVKEK2 {id} {good}"),
        format!("SVKEK1 {id} {good} more"),
        format!("SVKEK1 {id}  {good}"),
        format!(
            "SVKEK1 {} {good}",
            id.to_uppercase().replace("199A", "199a")
        ),
        format!("SVKEK1 x {good}"),
        format!("SVKEK1 {id} {}", good.replace('=', "")),
        format!("SVKEK1 {id} {good}\n\n"),
        format!("SVKEK1 {id} {good}\r\n"),
        format!("{}{}", line(&[7; 32]), "x".repeat(100)),
    ];
    for content in bad {
        write(&file, &content, 0o600);
        assert!(
            matches!(file.load(), Err(KeyFileError::Malformed(_))),
            "{content:?}"
        );
    }
    fs::write(&file.0, [0xff; 60]).unwrap();
    assert!(matches!(file.load(), Err(KeyFileError::Malformed(_))));
}

#[test]
fn refusals_never_show_the_content() {
    let (_folder, file) = folder();
    write(&file, "hunter2", 0o600);
    let error = file.load().unwrap_err();
    assert!(!format!("{error} {error:?}").contains("hunter2"));
}
