//! A PostgreSQL of our own: a child process in a folder of its own, gone when the tests are.
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;

/// Obeys one word a line and answers `ok`. When its input ends, because the tests did or were
/// killed, it stops the server and removes the folder.
const KEEPER: &str = r#"
set -eu
umask 077
dir=$(mktemp -d /tmp/quadrille-postgres-XXXXXX)
cd "$dir"
trap 'pg_ctl -D data -m immediate stop >/dev/null 2>&1 || true; cd /; rm -rf "$dir"' EXIT
trap '' INT
initdb -N -D data -U tester -A trust --no-locale -E UTF8 >initdb.log 2>&1 \
    || { cat initdb.log >&2; exit 1; }
echo 'host all locked 127.0.0.1/32 scram-sha-256' | cat - data/pg_hba.conf >hba
cat hba >data/pg_hba.conf
run() {
    pg_ctl -D data -w -l log -o "-p $1 -k $dir -c listen_addresses=127.0.0.1" "$2" -m immediate \
        >/dev/null 2>&1 </dev/null || { cat log >&2; exit 1; }
}
run "$1" start
echo ok
while read -r word; do
    case $word in
        restart) run "$1" restart ;;
        # The sessions, which are the children of the first process.
        freeze) pkill -STOP -P "$(head -n 1 data/postmaster.pid)" -f "^postgres: tester" ;;
        thaw) pkill -CONT -P "$(head -n 1 data/postmaster.pid)" ;;
    esac
    echo ok
done
"#;

#[derive(Debug)]
pub(crate) struct Server {
    port: u16,
    keeper: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
    _child: Child,
}

impl Server {
    pub(crate) fn start() -> Self {
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = free.local_addr().expect("bound").port();
        drop(free);
        let path =
            format!("{}:{}", binaries().display(), std::env::var("PATH").unwrap_or_default());
        // The server refuses to run as root.
        let root = std::fs::metadata("/proc/self").is_ok_and(|meta| is_root(&meta));
        let mut command = if root {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--", "sh"]);
            command
        } else {
            Command::new("sh")
        };
        command.args(["-c", KEEPER, "keeper", &port.to_string()]).env("PATH", path);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("a shell");
        let input = child.stdin.take().expect("piped");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let server = Self { port, keeper: Mutex::new((input, output)), _child: child };
        server.await_ok();
        server
    }

    pub(crate) fn url(&self) -> String {
        self.url_of("tester")
    }

    /// `user`, or `user:password`.
    pub(crate) fn url_of(&self, user: &str) -> String {
        format!("postgres://{user}@127.0.0.1:{}/postgres", self.port)
    }

    /// A plain connection, to look and to meddle.
    pub(crate) async fn client(&self) -> tokio_postgres::Client {
        let connected = tokio_postgres::connect(&self.url(), tokio_postgres::NoTls).await;
        let (client, connection) = connected.expect("a server is there");
        tokio::spawn(connection);
        client
    }

    /// As after a crash: nobody is told, nothing is flushed.
    pub(crate) fn restart(&self) {
        self.tell("restart");
    }

    /// Sessions take what is sent, and say nothing.
    pub(crate) fn freeze(&self) {
        self.tell("freeze");
    }

    pub(crate) fn thaw(&self) {
        self.tell("thaw");
    }

    fn tell(&self, word: &str) {
        let mut keeper = self.keeper.lock().expect("no panic while talking");
        writeln!(keeper.0, "{word}").expect("the keeper lives");
        drop(keeper);
        self.await_ok();
    }

    fn await_ok(&self) {
        let mut line = String::new();
        let mut keeper = self.keeper.lock().expect("no panic while talking");
        keeper.1.read_line(&mut line).expect("the keeper lives");
        assert_eq!(line, "ok\n", "PostgreSQL did not start; its log is above");
    }
}

fn is_root(meta: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    meta.uid() == 0
}

/// Debian keeps them off the path, one folder a version.
fn binaries() -> PathBuf {
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<_> = debian.map(|version| version.path().join("bin")).collect();
    found.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    found.sort();
    let found = found.into_iter().rfind(|folder| folder.join("initdb").exists());
    found.expect("no PostgreSQL found: install it, or put the folder of initdb into PATH")
}
