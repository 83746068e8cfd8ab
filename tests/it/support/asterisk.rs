//! A real Asterisk for the tests, private to this process and gone with it.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use offhook::asterisk::ari::{Ari, AriConfig};
use offhook::asterisk::secret::Secret;
use tokio::sync::OnceCell;

/// An Asterisk with the repository's own configuration (`asterisk/`), on free ports of 127.0.0.1.
///
/// It ends when this is dropped, and also when the process ends in whatever way: a guard process waits for the end of a
/// pipe that only we hold, stops Asterisk and deletes its folder.
pub struct AsteriskUnderTest {
    /// `http://127.0.0.1:PORT/ari`
    pub ari_url: String,
    /// Where it speaks SIP (UDP).
    pub sip_addr: SocketAddr,
    /// Where it speaks ARI.
    pub ari_addr: SocketAddr,
    /// Where it speaks AMI.
    pub ami_addr: SocketAddr,
    /// Of ARI, AMI and (with the name `alice`) SIP.
    pub user: &'static str,
    /// Of ARI, AMI and SIP.
    pub password: &'static str,
    /// Configuration, recordings, logs.
    pub dir: PathBuf,
    folder: PathBuf,
    version: Option<String>,
    /// Ends everything when its standard input does.
    guard: Child,
}

/// What an Asterisk of one's own should be like.
#[derive(Clone, Default)]
pub struct Wanted {
    /// `22` or `16`; what OFFHOOK_TEST_ASTERISK says, or the script chooses, otherwise.
    pub version: Option<&'static str>,
    /// For a test that stops it and starts it again: ports that no other Asterisk takes meanwhile.
    pub keeps_its_ports: bool,
    /// Text to add at the end of configuration files: `("extensions.conf", "…")`.
    pub extra: Vec<(&'static str, String)>,
}

static SHARED: OnceCell<AsteriskUnderTest> = OnceCell::const_new();

/// The Asterisk that the tests of this process share; started by the first one that asks. Tests that stop or reconfigure it
/// take one of their own.
pub async fn asterisk() -> &'static AsteriskUnderTest {
    SHARED.get_or_init(|| AsteriskUnderTest::start_own(Wanted::default())).await
}

impl AsteriskUnderTest {
    /// Starts one for a single test. About two seconds.
    pub async fn start_own(wanted: Wanted) -> Self {
        tokio::task::spawn_blocking(move || Self::start(wanted).expect("Asterisk starts")).await.unwrap()
    }

    fn start(wanted: Wanted) -> io::Result<Self> {
        super::say_failures_at_once();
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        // Short: Asterisk's control socket has a path of at most 107 characters.
        let folder = PathBuf::from(format!("/tmp/offhook-it-{}-{count}", std::process::id()));
        let (dir, extra) = (folder.join("a"), folder.join("extra"));
        std::fs::create_dir_all(&dir)?;
        if !wanted.extra.is_empty() {
            std::fs::create_dir_all(&extra)?;
        }
        for (file, text) in &wanted.extra {
            std::fs::write(extra.join(file), text)?;
        }
        let guard = guard(&folder, &dir)?;
        let mut this = Self {
            ari_url: String::new(),
            sip_addr: ([127, 0, 0, 1], 0).into(),
            ari_addr: ([127, 0, 0, 1], 0).into(),
            ami_addr: ([127, 0, 0, 1], 0).into(),
            user: "offhook",
            password: "offhook",
            dir,
            folder,
            version: wanted
                .version
                .map(str::to_owned)
                .or_else(|| std::env::var("OFFHOOK_TEST_ASTERISK").ok()),
            guard,
        };
        if wanted.keeps_its_ports {
            this.run_start_on_reserved_ports()?;
        } else {
            this.run_start("auto")?;
        }
        let instance = std::fs::read_to_string(this.dir.join("instance"))?;
        let port = |name: &str| {
            let line = instance.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            line.and_then(|text| text.parse().ok()).ok_or_else(|| io::Error::other(format!("no {name}")))
        };
        this.sip_addr.set_port(port("SIP_PORT")?);
        this.ari_addr.set_port(port("ARI_PORT")?);
        this.ami_addr.set_port(port("AMI_PORT")?);
        this.ari_url = format!("http://{}/ari", this.ari_addr);
        Ok(this)
    }

    /// Ends Asterisk; its folder stays.
    pub async fn stop(&self) {
        let mut command = script("stop", &self.dir);
        tokio::task::spawn_blocking(move || run(&mut command).expect("Asterisk stops")).await.unwrap();
    }

    /// Kills Asterisk as a crash would.
    pub async fn kill(&self) {
        let dir = self.dir.clone();
        tokio::task::spawn_blocking(move || {
            for pid in processes_of(&dir) {
                run(Command::new("kill").arg("-KILL").arg(pid.to_string())).expect("it can be killed");
            }
        })
        .await
        .unwrap();
        self.stop().await;
    }

    /// Starts it again on the same ports, after [`stop`](Self::stop); see [`Wanted::keeps_its_ports`]. For tests of the flavor `multi_thread`.
    pub async fn start_again(&self) {
        let base = self.sip_addr.port().to_string();
        tokio::task::block_in_place(|| self.run_start(&base)).expect("Asterisk starts again");
    }

    /// Runs a command of Asterisk's console and returns what it prints.
    pub async fn cli(&self, line: &str) -> String {
        let mut command = script("cli", &self.dir);
        command.arg(line);
        tokio::task::spawn_blocking(move || run(&mut command).expect("the console answers")).await.unwrap()
    }

    /// A client for it.
    pub fn ari(&self) -> Ari {
        Ari::new(self.ari_config()).expect("the configuration is right")
    }

    /// How a client reaches it, more patient than by default: the machine may be busy with other things.
    pub fn ari_config(&self) -> AriConfig {
        let timeout = Duration::from_secs(20);
        AriConfig { timeout, ..AriConfig::new(self.ari_url.clone(), self.user, Secret::new(self.password)) }
    }

    /// Below what the script chooses from by itself. Processes begin at different places.
    fn run_start_on_reserved_ports(&self) -> io::Result<()> {
        let mut last = Ok(());
        for attempt in 0..10 {
            let base = 10_000 + (std::process::id() + attempt) % 10 * 1_000;
            last = self.run_start(&base.to_string());
            if last.is_ok() {
                break;
            }
        }
        last
    }

    fn run_start(&self, ports: &str) -> io::Result<()> {
        let mut command = script("start", &self.dir);
        command.args(["--port-base", ports]);
        let extra = self.folder.join("extra");
        if extra.exists() {
            command.arg("--extra").arg(extra);
        }
        if let Some(version) = &self.version {
            command.args(["--version", version]);
        }
        run(&mut command).map(drop)
    }
}

impl Drop for AsteriskUnderTest {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

/// Waits until `done` yields something, for at most `within`.
pub async fn eventually<T>(within: Duration, what: &str, mut done: impl AsyncFnMut() -> Option<T>) -> T {
    let all = async {
        loop {
            if let Some(value) = done().await {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(within, all).await.unwrap_or_else(|_| panic!("not within {within:?}: {what}"))
}

fn script(command: &str, dir: &Path) -> Command {
    let mut script = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/asterisk"));
    script.args([command, "--dir"]).arg(dir).stdin(Stdio::null());
    script
}

fn run(command: &mut Command) -> io::Result<String> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{command:?}: {}: {said}", output.status)))
}

/// A process that outlives us by the time it takes to stop Asterisk. Its standard input is a pipe that ends with us, because
/// the system closes it however we end and no other process of ours inherits it. In a process group of its own, so that
/// what ends a test run from outside does not end the guard too.
fn guard(folder: &Path, dir: &Path) -> io::Result<Child> {
    use std::os::unix::process::CommandExt as _;
    Command::new("bash")
        .args(["-c", r#"trap "" HUP INT TERM; read -r _; "$1" stop --dir "$2"; rm -rf "$3""#, "guard"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/asterisk"))
        .args([dir, folder])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
}

/// The Asterisk processes that run from `dir`.
pub fn processes_of(dir: &Path) -> Vec<u32> {
    let conf = dir.join("etc/asterisk.conf");
    let conf = conf.to_string_lossy();
    let pids = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let mut words = line.split(|byte| *byte == 0).map(String::from_utf8_lossy);
            words.next().is_some_and(|program| program.ends_with("/asterisk"))
                && words.any(|word| word == conf)
        })
        .collect()
}
