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
