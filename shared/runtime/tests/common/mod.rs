//! Private RabbitMQ nodes for tests: own port, own data, own cookie, on 127.0.0.1, gone with the
//! test's process.
#![allow(clippy::unwrap_used, dead_code, reason = "tests; not every one uses all of it")]
use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Where Debian puts the scripts that may run as anybody.
const SCRIPTS: &str = "/usr/lib/rabbitmq/bin";
/// A node on a busy machine.
const START_MAX: Duration = Duration::from_secs(90);
/// Virtual hosts `v0`, `v1` and so on, made at start: a command for each would take longer than the
/// tests.
const VHOSTS: usize = 60;

/// Waits for its standard input to end, as it does with the process that holds the other end; then
/// ends all.
const KEEPER: &str = r#"
"$1" > "$2/out" 2>&1 < /dev/null &
cat > /dev/null
kill -9 "$(cat "$2/pid")" 2> /dev/null
for wait in 1 2 3 4 5 6 7 8 9 10; do
    # It refuses while it knows a node.
    epmd -port "$ERL_EPMD_PORT" -kill > /dev/null 2>&1 && break
    sleep 0.1
done
rm -rf "$2"
kill -9 -$$
"#;

pub(crate) struct Node {
    dir: PathBuf,
    pub(crate) port: u16,
    dist_port: u16,
    epmd_port: u16,
    keeper: Mutex<Option<Child>>,
    next_vhost: Mutex<usize>,
}

impl Node {
    /// Starts a node and waits until it answers.
    pub(crate) fn start(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("quadrille-{name}-{}", std::process::id()));
        let [port, dist_port, epmd_port] = free_ports();
        let node = Self {
            dir,
            port,
            dist_port,
            epmd_port,
            keeper: Mutex::new(None),
            next_vhost: Mutex::new(0),
        };
        node.write_files();
        node.boot();
        node
    }

    fn write_files(&self) {
        fs::create_dir_all(&self.dir).unwrap();
        fs::set_permissions(&self.dir, fs::Permissions::from_mode(0o700)).unwrap();
        let mut cookie = fs::OpenOptions::new();
        let cookie = cookie.create(true).truncate(true).write(true).mode(0o400);
        let mut cookie = cookie.open(self.dir.join(".erlang.cookie")).unwrap();
        write!(cookie, "{}", uuid::Uuid::new_v4().simple()).unwrap();
        fs::write(self.dir.join("plugins"), "[].").unwrap();
        fs::write(self.dir.join("definitions.json"), definitions()).unwrap();
        let conf = format!(
            "listeners.tcp.1 = 127.0.0.1:{}\n\
             load_definitions = {}\n\
             log.console = false\nlog.file = node.log\n\
             disk_free_limit.absolute = 50MB\n",
            self.port,
            self.dir.join("definitions.json").display()
        );
        fs::write(self.dir.join("rabbitmq.conf"), conf).unwrap();
    }

    fn set(&self, command: &mut Command) {
        let dir = |name: &str| self.dir.join(name);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", &self.dir)
            .env("LANG", "C.UTF-8")
            .env("RABBITMQ_NODENAME", format!("q{}@localhost", self.port))
            .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODE_PORT", self.port.to_string())
            .env("RABBITMQ_DIST_PORT", self.dist_port.to_string())
            .env("ERL_EPMD_PORT", self.epmd_port.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_MNESIA_BASE", dir("data"))
            .env("RABBITMQ_LOG_BASE", dir("log"))
            .env("RABBITMQ_PID_FILE", dir("pid"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", dir("plugins"))
            .env("RABBITMQ_CONFIG_FILE", dir("rabbitmq.conf"))
            .env(
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                "-kernel inet_dist_use_interface {127,0,0,1}",
            );
    }

    fn boot(&self) {
        let mut command = Command::new("sh");
        self.set(&mut command);
        let server = Path::new(SCRIPTS).join("rabbitmq-server");
        command.arg("-c").arg(KEEPER).arg("keeper").arg(server).arg(&self.dir);
        command.stdin(Stdio::piped()).process_group(0);
        let keeper = command.spawn().expect("sh");
        *self.keeper.lock().unwrap() = Some(keeper);
        self.await_listener();
    }

    fn await_listener(&self) {
        let begun = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            if begun.elapsed() > START_MAX {
                let said = fs::read_to_string(self.dir.join("out")).unwrap_or_default();
                panic!("no node within {START_MAX:?}: {said} (needs the package rabbitmq-server)");
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The URL of a virtual host that nobody else was given.
    pub(crate) fn fresh_url(&self) -> String {
        self.url(&self.fresh_vhost())
    }

    pub(crate) fn fresh_vhost(&self) -> String {
        let mut next = self.next_vhost.lock().unwrap();
        assert!(*next < VHOSTS, "more virtual hosts are needed");
        *next += 1;
        format!("v{}", *next - 1)
    }

    pub(crate) fn url(&self, vhost: &str) -> String {
        format!("amqp://tester:canary-secret@127.0.0.1:{}/{vhost}", self.port)
    }

    /// A user that may publish to `quadrille.order` and consume `quadrille.order`, and declare
    /// nothing.
    pub(crate) fn limited_url(&self, vhost: &str) -> String {
        format!("amqp://limited:canary-secret@127.0.0.1:{}/{vhost}", self.port)
    }

    /// Runs `rabbitmqctl` and gives what it said.
    pub(crate) fn ctl(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(Path::new(SCRIPTS).join("rabbitmqctl"));
        self.set(&mut command);
        let output = command.arg("-q").args(arguments).output().expect("rabbitmqctl");
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "rabbitmqctl {arguments:?}: {said}");
        said
    }

    /// Sends a signal to the node's process.
    pub(crate) fn signal(&self, signal: &str) {
        let pid = fs::read_to_string(self.dir.join("pid")).expect("a pid file");
        let sent = Command::new("kill").args([signal, pid.trim()]).status().expect("kill");
        assert!(sent.success());
    }

    /// What a power cut does to the process.
    pub(crate) fn kill(&self) {
        self.signal("-KILL");
        // The keeper keeps the directory: it is told to end without its last words.
        let keeper = self.keeper.lock().unwrap().take();
        let mut keeper = keeper.expect("a keeper");
        let _ = keeper.kill();
        let _ = keeper.wait();
    }

    /// Starts again after [`Self::kill`], with the data that is there.
    pub(crate) fn restart(&self) {
        // The name is still taken until epmd has seen the connection end.
        std::thread::sleep(Duration::from_millis(500));
        self.boot();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut keeper) = self.keeper.lock().unwrap().take() {
            drop(keeper.stdin.take());
            let _ = keeper.wait();
        }
    }
}

fn free_ports<const N: usize>() -> [u16; N] {
    // All are held at once, or the same one would be given twice.
    let held = [(); N].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    held.map(|listener| listener.local_addr().unwrap().port())
}

fn definitions() -> String {
    let user =
        |name: &str| serde_json::json!({"name": name, "password": "canary-secret", "tags": []});
    let vhosts: Vec<_> = (0..VHOSTS).map(|n| format!("v{n}")).collect();
    let all = vhosts.iter().map(|vhost| {
        serde_json::json!({
            "user": "tester", "vhost": vhost, "configure": ".*", "write": ".*", "read": ".*"
        })
    });
    let few = vhosts.iter().map(|vhost| {
        serde_json::json!({
            "user": "limited", "vhost": vhost, "configure": "^$",
            "write": r"^quadrille\.order$", "read": r"^quadrille\.order$"
        })
    });
    serde_json::json!({
        "users": [user("tester"), user("limited")],
        "vhosts": vhosts.iter().map(|name| serde_json::json!({"name": name})).collect::<Vec<_>>(),
        "permissions": all.chain(few).collect::<Vec<_>>(),
    })
    .to_string()
}
