//! The program `homebrew-sync`. Everything is in the library, where tests can call it.

fn main() -> std::process::ExitCode {
    bottles::cli::main()
}
