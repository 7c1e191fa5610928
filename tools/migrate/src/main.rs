//! The program `migrate_to_s3`. Everything is in the library, where tests can call it.

fn main() -> std::process::ExitCode {
    migrate::cli::main()
}
