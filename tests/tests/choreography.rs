//! scratch
use quadrille::check::{Options, check};
#[test]
fn scratch() {
    let s = check(&Options { progress: |r| eprintln!("{r}"), ..Options::default() }).unwrap();
    println!("{s}");
    for w in quadrille::choreography::PARTICIPANTS {
       if let Some(st) = quadrille::choreography::states().get(w.name) {
        println!("### {}\n{}", w.name, s.table.markdown(w, st));
       println!("{:?} {:?}", s.table.count(w.name), s.table.needless(w.name));
        println!("{}", quadrille_check::state_diagram(&s.table, w.name));
    }}
    println!("{}", quadrille_check::graph(quadrille::choreography::PARTICIPANTS));
}
