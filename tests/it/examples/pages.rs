//! The pages of the clients show the programs that the tests run.

use std::fs;

#[test]
fn each_page_shows_the_client_as_it_is_and_the_client_is_short() {
    for (language, page, files) in [
        (
            "py",
            "python",
            vec!["python/receiver.py", "python/hooks.py"],
        ),
        (
            "ts",
            "typescript",
            vec!["typescript/receiver.ts", "typescript/hooks.ts"],
        ),
        ("go", "go", vec!["go/main.go", "go/client.go", "go/hook.go"]),
        ("sh", "shell", vec!["shell/receiver.sh"]),
    ] {
        let text = fs::read_to_string(format!("docs/clients/{page}.md")).unwrap();
        for file in files {
            let program = fs::read_to_string(format!("examples/{file}")).unwrap();
            let lines = program.lines().count();
            assert!(lines < 60, "{file} has {lines} lines");
            let block = format!("```{language}\n{program}```\n");
            assert!(
                text.contains(&block),
                "docs/clients/{page}.md shows another {file}"
            );
        }
    }
}
