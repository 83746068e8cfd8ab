//! A real PostgreSQL for the tests, private to one test and gone with it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// A PostgreSQL on a free port of 127.0.0.1, in a folder of its own. It ends when this is dropped, and also when the process
/// ends in whatever way, as the Asterisk of these tests does.
pub struct Postgres {
    /// `postgres://offhook@127.0.0.1:PORT/postgres`
    pub url: String,
    folder: PathBuf,
    bin: PathBuf,
    guard: Child,
}

impl Postgres {
    /// Starts one; about two seconds. [`None`], with a sentence on standard error, where none is installed.
    pub async fn start() -> Option<Self> {
        tokio::task::spawn_blocking(Self::start_blocking).await.unwrap()
    }

    fn start_blocking() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let Some(bin) = installed() else {
            eprintln!(
                "skipped: there is no PostgreSQL here; `apt-get install postgresql` lets this test run"
            );
            return None;
        };
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = PathBuf::from(format!("/tmp/offhook-pg-{}-{count}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let guard = guard(&folder, &bin);
        let mut this = Self { url: String::new(), folder, bin, guard };
        if is_root() {
            assert!(Command::new("chown").arg("postgres").arg(&this.folder).status().unwrap().success());
        }
        let data = this.data();
        this.run("initdb", &["-D", &data, "-U", "offhook", "--auth=trust", "--no-sync"]);
        // Taken and let go: nobody else asks for ports in between but other tests, which are given others.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let options = format!(
            "-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={} -c max_connections=60",
            this.folder.display()
        );
        let log = this.folder.join("log");
        this.run(
            "pg_ctl",
            &["-D", &data, "-o", &options, "-l", log.to_str().unwrap(), "-w", "-t", "60", "start"],
        );
        this.url = format!("postgres://offhook@127.0.0.1:{port}/postgres");
        Some(this)
    }

    /// Kills it as a crash would, and starts it again at the same place.
    pub async fn crash(&self) {
        let (data, log) = (self.data(), self.folder.join("log"));
        let (mut stop, mut start) =
            (as_postgres(&self.bin.join("pg_ctl")), as_postgres(&self.bin.join("pg_ctl")));
        stop.args(["-D", &data, "-m", "immediate", "-w", "-t", "60", "stop"]);
        // What it was started with it wrote down itself; `restart` would take a clean way.
        let options = std::fs::read_to_string(Path::new(&data).join("postmaster.opts")).unwrap();
        let words = options.split('"').skip(1).step_by(2).filter(|word| *word != "-D" && *word != data);
        let words = words.collect::<Vec<_>>().join(" ");
        start.args(["-D", &data, "-o", &words, "-l", log.to_str().unwrap(), "-w", "-t", "60", "start"]);
        tokio::task::spawn_blocking(move || {
            for command in [&mut stop, &mut start] {
                let done = command.stdin(Stdio::null()).stdout(Stdio::null()).status().unwrap();
                assert!(done.success());
            }
        })
        .await
        .unwrap();
    }

    fn data(&self) -> String {
        self.folder.join("data").to_str().unwrap().to_owned()
    }

    fn run(&self, program: &str, args: &[&str]) {
        let mut command = as_postgres(&self.bin.join(program));
        // Its output goes nowhere: the server would keep a pipe open.
        let done = command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).status().unwrap();
        assert!(done.success(), "{program} failed; its log is in {}", self.folder.display());
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

/// Where its programs are: those of the newest version that Debian has here, or those on the PATH.
fn installed() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = versions.map(|entry| entry.path().join("bin")).collect();
    found.sort();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let all = found.into_iter().rev().chain(std::env::split_paths(&path).collect::<Vec<_>>());
    all.into_iter().find(|bin| bin.join("initdb").exists() && bin.join("pg_ctl").exists())
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|here| std::os::unix::fs::MetadataExt::uid(&here) == 0)
}

/// It refuses to run as root: then it runs as the user that its package has made.
fn as_postgres(program: &Path) -> Command {
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.current_dir("/");
    command
}

/// Ends the server and deletes the folder when its standard input ends.
fn guard(folder: &Path, bin: &Path) -> Child {
    use std::os::unix::process::CommandExt as _;
    const SCRIPT: &str = r#"trap "" HUP INT TERM; read -r _
        pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null)
        if [ -n "$pid" ]; then kill -QUIT "$pid"; while kill -0 "$pid" 2>/dev/null; do sleep 0.05; done; fi
        rm -rf "$1""#;
    Command::new("bash")
        .args(["-c", SCRIPT, "guard"])
        .args([folder, bin])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap()
}
