//! docs/transcripts.md: what a person sees at a narrow and at a wide terminal. It is made by this
//! story, with `EVOLINK_RECEIVER_UPDATE_DOCS=1`; otherwise the story compares it.

use std::fmt::Write as _;
use std::fs;

use tokio::task::spawn_blocking;

use crate::support::process::Place;
use crate::support::process::terminal::Terminal;

const DOCUMENT: &str = "docs/transcripts.md";
const UPDATE: &str = "EVOLINK_RECEIVER_UPDATE_DOCS";
const WIDTHS: [u16; 2] = [60, 120];

const INTRODUCTION: &str = "# What the commands show

What a person sees at a terminal of 60 and of 120 columns. This page is made by a command, which
CONTRIBUTING.md names; addresses, ids, times and sizes are those of one run.
";

/// Five faults, as a person makes them.
const FAULTY: &str = r#"[public]
base_url = "https://hooks.example.com"
listen = "0.0.0.0"
[public.tls]
mode = "file"
[evolink]
api_key = "sk-example-0123456789"
timout = "30s"
[store]
url = "mysql://db/receiver"
[reconcile]
give_up_after = "ever"
"#;

/// What the terminal shows at the end: a progress bar is drawn over again and again.
async fn screen(columns: u16, place: &Place, args: Vec<String>) -> Option<String> {
    let running = spawn_blocking(move || {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        Terminal::of(columns).run(&args, &[])
    });
    let shown = running.await.unwrap()?.stdout;
    let folder = place.config().with_file_name("").display().to_string();
    let shown = shown
        .replace(&folder, "")
        .replace("faulty.toml", "receiver.toml");
    let mut terminal = vt100::Parser::new(60, columns, 0);
    terminal.process(shown.replace('\n', "\r\n").as_bytes());
    let rows = terminal.screen().rows(0, columns);
    let rows: Vec<String> = rows.map(|row| row.trim_end().to_owned()).collect();
    Some(rows.join("\n").trim_end().to_owned())
}

/// The words of each code block of `document`. A piece with a digit differs from run to run.
fn compared(document: &str) -> Vec<Vec<String>> {
    let document = document.replace("just now", "0 s ago");
    // The program may be built where no commit is known.
    let lines = document
        .lines()
        .filter(|line| !line.starts_with("service "));
    let document = lines.collect::<Vec<_>>().join("\n");
    let blocks = document.split("```").skip(1).step_by(2);
    let same = |block: &str| {
        let pieces = block.split_whitespace();
        let pieces = pieces.filter(|piece| !piece.contains(|c: char| c.is_ascii_digit()));
        pieces.map(ToOwned::to_owned).collect()
    };
    blocks.map(same).collect()
}

#[tokio::test]
async fn the_transcripts_are_what_the_commands_show() {
    let place = Place::new();
    let _simulator = place.with_simulator().await;
    let receiver = place.start().await;
    let faulty = place.config().with_file_name("faulty.toml");
    fs::write(&faulty, FAULTY).unwrap();
    let url = format!("http://{}", receiver.internal());
    let faulty = faulty.display().to_string();
    let mut document = INTRODUCTION.to_owned();
    for (title, line) in [
        (
            "submit \"a cute cat\" --wait",
            vec!["submit", "a cute cat", "--wait", "--url", &url],
        ),
        ("status", vec!["status", "--url", &url]),
        (
            "check --config receiver.toml",
            vec!["check", "--config", &faulty],
        ),
    ] {
        write!(document, "\n## `{title}`\n").unwrap();
        for columns in WIDTHS {
            let args = line.iter().copied().map(String::from).collect();
            let Some(screen) = screen(columns, &place, args).await else {
                return;
            };
            write!(
                document,
                "\nAt {columns} columns:\n\n```text\n{screen}\n```\n"
            )
            .unwrap();
        }
    }
    receiver.stop().await;
    if std::env::var_os(UPDATE).is_some() {
        fs::write(DOCUMENT, document).unwrap();
        return;
    }
    let (kept, found) = (
        compared(&fs::read_to_string(DOCUMENT).unwrap()),
        compared(&document),
    );
    assert_eq!(
        kept, found,
        "{UPDATE}=1 makes {DOCUMENT} again:\n{document}"
    );
}
