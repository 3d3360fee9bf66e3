//! Cost of an account's longest turn when it sends: `cargo bench --bench fanout`. To 10, 256 and 1,024 devices: a text to a group that
//! has our sender key, and one after a member has left, when a rotated key is encrypted for every device. Allocations are counted.

#[allow(dead_code)]
#[path = "../tests/it/net.rs"]
mod net;

use net::Net;
use std::cell::Cell;
use std::time::Duration;
use tokio::time::Instant;
use wharf::sandbox::world::MemberChange;

const ALICE: &str = "15550000000";

thread_local! {
    /// The longest turn since the last call, and its allocations.
    static LONGEST: Cell<(Duration, u64)> = const { Cell::new((Duration::ZERO, 0)) };
}

fn measured(turn: &mut dyn FnMut()) {
    let begun = Instant::now();
    let allocated = allocation_counter::measure(&mut *turn);
    let took = begun.elapsed();
    LONGEST.with(|longest| {
        if took > longest.get().0 {
            longest.set((took, allocated.count_total));
        }
    });
}

fn main() {
    println!("{:>8} {:>28} {:>12} {:>12}", "devices", "a text to the group", "turn, ms", "allocations");
    for devices in [10, 256, 1024] {
        let mut net = Net::new();
        net.linked("alice", ALICE);
        // Our own phone is one more device.
        let members: Vec<String> = (1..devices).map(|number| format!("1555{number:07}")).collect();
        for number in &members {
            net.world.create_phone(number, None).unwrap();
        }
        let group = net.world.create_group("many", ALICE, &members).unwrap().id;
        net.settle();
        net.around_turn = measured;
        for (what, leaves) in
            [("first, sessions begin", false), ("the key is known", false), ("a member has left", true)]
        {
            if leaves {
                let last = members.last().cloned().unwrap();
                net.world.change_participants(&group, None, MemberChange::Remove, &[last]).unwrap();
                net.settle();
            }
            LONGEST.set((Duration::ZERO, 0));
            net.send("alice", &group, what);
            net.settle();
            let (took, allocations) = LONGEST.get();
            println!("{devices:>8} {what:>28} {:>12.2} {allocations:>12}", took.as_secs_f64() * 1e3);
        }
    }
}
