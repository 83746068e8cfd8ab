//! Software of PyPI, each set of packages in an environment of its own under the project's cache folder.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

/// How long installing may take.
const PATIENCE: Duration = Duration::from_secs(240);

/// The Python of an environment with these packages, pinned as `name==version`; made at the first use. Without network, or
/// without Python, there is none, and a sentence says so.
pub async fn python(packages: &[&str]) -> Option<PathBuf> {
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/offhook"));
    let xdg = || Some(PathBuf::from(std::env::var_os("XDG_CACHE_HOME")?).join("offhook"));
    let cache = std::env::var_os("OFFHOOK_CACHE").map(PathBuf::from).or_else(xdg).or_else(home)?;
    let name: String = packages.join("-").replace("==", "-");
    let folder = cache.join("python").join(name);
    let python = folder.join("bin/python");
    let whole = folder.join("whole");
    if whole.exists() {
        return Some(python);
    }
    // Under another name first: two tests may want the same, and one may be ended in the middle.
    let making = cache.join("python").join(format!("making-{:08x}", fastrand::u32(..)));
    let run = async |command: &mut Command| {
        let run = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .status();
        matches!(tokio::time::timeout(PATIENCE, run).await, Ok(Ok(status)) if status.success())
    };
    let made = run(Command::new("python3").args(["-m", "venv"]).arg(&making)).await
        && run(Command::new(making.join("bin/python"))
            .args(["-m", "pip", "install", "--quiet"])
            .args(packages))
        .await
        && std::fs::write(making.join("whole"), "").is_ok();
    if !made {
        let _ = std::fs::remove_dir_all(&making);
        println!("skipped: {packages:?} cannot be installed (no network, or no python3-venv)");
        return None;
    }
    // An environment may be moved as long as its Python is called by its path.
    if std::fs::rename(&making, &folder).is_err() {
        // Another test was faster.
        let _ = std::fs::remove_dir_all(&making);
    }
    whole.exists().then_some(python)
}
