//! What stands below the flags of each verb: what to know, examples, exit codes.
//!
//! Lines of at most 80 columns, as terminals have them.

pub(super) const EXIT_CODES: &str = "\
Begin with: quadrille demo

Exit codes:
  0   done
  1   not as it should be: a violation, a fault, no such order
  64  a flag or setting is wrong
  69  broker or store cannot be reached
  70  a broken store, or a bug";

pub(super) const DEMO: &str = "\
All services run in this process, on the embedded broker and SQLite, with a
simulated payment provider and carrier; no settings are used but those of the
log. With --data, kill it at any moment and start it again: it says what it
found, brings every order to its end, and plays new ones.

Examples:
  quadrille demo
  quadrille demo --data ./data

Exit codes: 0 all ended as told; 1 one did not, or the audit found something;
69 another process uses the folder.";

pub(super) const UP: &str = "\
Ctrl-C or SIGTERM stops it, after finishing what is under way; twice stops it
at once. Logs go to standard error.

Examples:
  quadrille up
  quadrille up --amqp-url amqp://guest:guest@localhost:5672/%2f --data ./data
  quadrille up --amqp-url amqp://user:password@broker:5672/orders \\
      --postgres-url postgres://user:password@db/orders --http 127.0.0.1:8080

Exit codes: 0 stopped, 64 wrong flag or setting, 69 no broker or store, 70 bug.";

pub(super) const HISTORY: &str = "\
Times are relative to the first step. An arrow leads from the service that
published the cause. Marks: ● went on, ✗ went wrong or was refused, ↶ undone,
· changed its own state only.

Examples (the id is one that `quadrille demo --data ./data` prints):
  quadrille history 0190a5c3-4d5e-7f60-8a9b-c0d1e2f30415 --data ./data
  quadrille history 0190a5c3-... --data ./data --at +250ms
  quadrille history 0190a5c3-... --data ./data --at 2026-11-21T10:45:00Z -o json

Exit codes: 0 told, 1 no service has heard of it, 64 wrong flag, 69 no store.";

pub(super) const AUDIT: &str = "\
Reads the journals of all services, changes nothing, and may run beside them.
Each audit reads everything. With --every the exit code is that of the last.

Examples:
  quadrille audit --data ./data
  quadrille audit --postgres-url postgres://user:password@db/orders --settled
  quadrille audit --every 1h -o json

Exit codes: 0 all as it must be, 1 a violation, 64 wrong flag, 69 no store.";

pub(super) const CHECK: &str = "\
Runs the same code as the services, in every order of messages, repeats, timers
and answers. Progress goes to standard error.

Examples:
  quadrille check
  quadrille check --scope 3b
  quadrille check --long -o json
  quadrille check --schedules ./faults
  quadrille check --compare
  quadrille check --replay ./faults/001-3b-once.json
  quadrille check --replay ./faults/001-3b-once.json \\
      --amqp-url amqp://guest:guest@localhost:5672/replay \\
      --postgres-url postgres://user:password@localhost/replay

--replay needs empty queues and an empty store: it starts all services there.

Exit codes: 0 no fault, 1 a fault (with the shortest way to it, or it happens
in the replay too), 64 no such scope or file, 69 no broker or store.";

pub(super) const SIMULATE: &str = "\
The services' own loop on a model of broker, store, clock, payment provider and
carrier, which fail by seed: the same seed is the same run. Faults strike in the
first two thirds of each run; then everything heals, every order must end, and
the audit must find nothing. A failure prints how to play it again, and is made
smaller. Progress goes to standard error.

Examples:
  quadrille simulate --seeds 0..1000
  quadrille simulate --seeds 7..8 --faults crash,commit-unknown --tell
  quadrille simulate --seeds 0..500 --bug all -o json

Exit codes: 0 nothing was found, 1 something was, or a planted bug was not;
64 wrong flag.";

pub(super) const LIST: &str = "\
A message is parked whole when nobody could use it: the reason is a stable
word, the detail names the field as a JSON pointer.

Examples:
  quadrille parked list --data ./data
  quadrille parked list --data ./data --service payment --reason malformed_body
  quadrille parked list --data ./data --status dropped -o json

Exit codes: 0 listed (also if there is none), 64 wrong flag, 69 no store.";

pub(super) const SHOW: &str = "\
Example:
  quadrille parked show 01a1feab-c46c-7778-8cbf-e9f5f242bca8 --data ./data

Exit codes: 0 shown, 1 there is no such message, 64 wrong flag, 69 no store.";

pub(super) const REDRIVE: &str = "\
Without --yes this is a dry run: it lists what would be tried again and changes
nothing. The service tries them as soon as it runs. Who decided, when and why is
kept with each message: `quadrille parked show ID`.

Examples:
  quadrille parked redrive 01a1feab-c46c-7778-8cbf-e9f5f242bca8 --data ./data
  quadrille parked redrive --reason rejected --data ./data
  quadrille parked redrive --reason rejected --data ./data --yes --why fixed

Exit codes: 0 done, or shown what would be; 1 no parked message is like that;
64 wrong flag; 69 no store.";

pub(super) const DROP: &str = "\
Without --yes this is a dry run: it lists what would be given up and changes
nothing. Who decided, when and why is kept with each message, and the message
too: `quadrille parked show ID`.

Examples:
  quadrille parked drop 01a1feab-c46c-7778-8cbf-e9f5f242bca8 --data ./data
  quadrille parked drop --name order.place --data ./data --yes --why 'a test'

Exit codes: 0 done, or shown what would be; 1 no parked message is like that;
64 wrong flag; 69 no store.";

pub(super) const DESCRIBE: &str = "\
Examples:
  quadrille describe
  quadrille describe --mermaid > choreography.md
  quadrille describe -o json

Exit codes: 0 described, 64 wrong flag.";

pub(super) const DECLARE: &str = "\
Exchanges, queues and bindings. What is there already is left as it is. Without
it, services that begin on an empty virtual host one after another can miss each
other's first events.

Examples:
  quadrille declare --amqp-url amqp://user:password@broker:5672/orders
  QUADRILLE_AMQP_URL_FILE=/run/secrets/amqp quadrille declare -o json

Exit codes: 0 all is there, 1 something else has one of the names or a right is
missing, 64 no broker is named, 69 it cannot be reached.";

pub(super) const SETTINGS: &str = "\
Secrets are never shown.

Examples:
  quadrille settings
  QUADRILLE_POSTGRES_URL_FILE=/run/secrets/postgres quadrille settings -o json

Exit codes: 0 shown; 64 shown, and one of them is wrong.";

pub(super) const PROXY: &str = "\
For developers. Rules:
  cut:publish:5      after the fifth published message both sides are closed;
                     also reset (both are reset) and halt (nobody is told), at
                     publish, body (in the middle of it), confirm or commit
                     (instead of that answer)
  swallow:confirms   the broker's answers to publishes do not arrive
  hold:confirms:5s   they arrive late
  pause:client       what clients say waits; also pause:server
  delay:20ms         everything is late
  throttle:10000     bytes a second, each way
  halt               nothing goes through, and nobody is told
  refuse             new connections are reset

Examples:
  quadrille proxy --listen 127.0.0.1:5673 --rule cut:publish:5
  quadrille proxy --rule hold:confirms:5s --rule delay:20ms
  quadrille proxy --upstream 127.0.0.1:5432 --protocol postgres \\
      --rule cut:commit:10

Exit codes: 0 stopped; 64 wrong flag; 69 it cannot listen, or not on loopback.";
