//! The program `hx`. Everything is in the library, where tests can call it.

fn main() -> std::process::ExitCode {
    hx::cli::main()
}
