//! Tests of what goes to which stream.

use serde_json::json;

use super::*;

fn captured(options: UiOptions) -> (Ui, Captured) {
    Ui::captured(options, &Env::default())
}

#[test]
fn data_and_talk_go_to_different_streams() {
    let (ui, captured) = captured(UiOptions::default());
    ui.out("3 matches");
    ui.status("Reading.");
    ui.warn("secret_key=abc is in the file");
    assert_eq!(ui.finish(Ok(Exit::Ok)), Exit::Ok);
    assert_eq!(captured.out(), "3 matches\n");
    assert_eq!(
        captured.err(),
        "Reading.\nwarning: secret_key=*** is in the file\n"
    );
}

#[test]
fn with_json_stdout_is_json_and_nothing_else() {
    let (ui, captured) = captured(UiOptions {
        json: true,
        ..UiOptions::default()
    });
    ui.out("for people");
    ui.json(&json!({"n": 3}));
    ui.finish(Ok(Exit::Ok));
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&captured.out()).expect("one document"),
        json!({"n": 3})
    );
}

#[test]
fn a_failure_is_rendered_and_gives_the_code() {
    let (ui, text) = captured(UiOptions::default());
    assert_eq!(
        ui.finish(Err(Failure::new(Exit::Locked, "busy"))),
        Exit::Locked
    );
    assert_eq!(
        (text.out(), text.err()),
        (String::new(), "error: busy\n".to_string())
    );

    let (ui, text) = captured(UiOptions {
        json: true,
        ..UiOptions::default()
    });
    assert_eq!(
        ui.finish(Err(Failure::new(Exit::Locked, "busy"))),
        Exit::Locked
    );
    assert!(text.out().contains("\"exit_code\": 11"), "{}", text.out());
}

/// The document of a command that gives these values and ends so.
fn document(values: &[serde_json::Value], end: Result<Exit, Failure>) -> serde_json::Value {
    let (ui, text) = captured(UiOptions {
        json: true,
        ..UiOptions::default()
    });
    values.iter().for_each(|value| ui.json(value));
    assert_eq!(text.out(), "", "nothing is written before the end");
    ui.finish(end);
    assert_eq!(text.err(), "");
    serde_json::from_str(&text.out()).expect("one document")
}

#[test]
fn however_a_command_ends_there_is_one_document() {
    let failed = || Err(Failure::new(Exit::Locked, "busy").kind("locked"));
    let with_error = |value: &serde_json::Value| value["error"]["exit_code"] == 11;
    assert_eq!(document(&[], Ok(Exit::Ok)), json!({}));
    assert!(with_error(&document(&[], failed())));
    assert_eq!(document(&[json!([1])], Ok(Exit::Ok)), json!([1]));
    let failed_list = document(&[json!([1])], failed());
    assert!(with_error(&failed_list) && failed_list["result"] == json!([1]));
    let failed_report = document(&[json!({"n": 3})], failed());
    assert!(with_error(&failed_report) && failed_report["n"] == 3);
    let two = document(&[json!({"pull": 1}), json!({"push": 2})], Ok(Exit::Ok));
    assert_eq!(two, json!({"pull": 1, "push": 2}));
}

#[test]
fn a_failure_after_raw_output_goes_to_stderr() {
    let (ui, text) = captured(UiOptions {
        json: true,
        ..UiOptions::default()
    });
    ui.raw(b"{\"n\": 1}\n");
    ui.finish(Err(Failure::new(Exit::Failed, "cut off")));
    assert_eq!(text.out(), "{\"n\": 1}\n");
    assert!(text.err().contains("cut off"));
}

#[test]
fn quiet_leaves_warnings() {
    let (ui, text) = captured(UiOptions {
        quiet: true,
        ..UiOptions::default()
    });
    ui.status("Reading.");
    ui.warn("odd");
    assert_eq!(text.err(), "warning: odd\n");
}

#[test]
fn nobody_is_asked_without_a_terminal() {
    let (ui, text) = captured(UiOptions::default());
    assert!(!ui.can_prompt());
    assert!(ui.confirm("Reset?", Unasked::Yes).expect("no question"));
    assert!(!ui.confirm("Reset?", Unasked::No).expect("no question"));
    let failure = ui.prompt_secret("Passphrase").expect_err("no terminal");
    assert_eq!(failure.exit(), Exit::Usage);
    assert_eq!(text.err(), "");
}

#[test]
fn colour_needs_a_terminal_or_an_order() {
    let (ui, text) = captured(UiOptions {
        color: ColorChoice::Always,
        ..UiOptions::default()
    });
    ui.warn("odd");
    assert!(text.err().contains("\x1b[1;33mwarning:"));
    let (ui, _) = captured(UiOptions::default());
    assert!(!ui.has_color());
}

#[test]
fn a_fault_of_the_program_is_one_document_too() {
    let (ui, captured) = captured(UiOptions {
        json: true,
        ..UiOptions::default()
    });
    let outcome = crate::without_panic(|| {
        ui.json(&json!({"n": 3}));
        panic!("it is {}", "broken")
    });
    assert_eq!(ui.finish(outcome), Exit::Internal);
    let document: serde_json::Value = serde_json::from_str(&captured.out()).expect("one document");
    assert_eq!(document["n"], 3);
    assert_eq!(document["error"]["exit_code"], 70);
    assert_eq!(document["error"]["causes"][0], "it is broken");
    assert_eq!(
        crate::without_panic(|| Ok(Exit::Partial)),
        Ok(Exit::Partial)
    );
}
