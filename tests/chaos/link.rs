//! Faults of the network, on either side.

use std::time::Duration;

use crate::{
    fault::{Fault, Undo},
    proxy::{Proxy, Way, Weather},
    round::Round,
    writer::Random,
};

/// What a door is told, and told again at the end.
type Strike = fn(&mut Random) -> (Begin, End);
type Begin = Box<dyn Fn(&Proxy)>;
type End = fn(&Proxy);

const KINDS: [(&str, Strike); 9] = [
    ("cut", |_| (Box::new(Proxy::cut), |_| {})),
    ("closed", |_| (Box::new(|door| shut(door, Weather::Closed)), open)),
    ("cut inside a message", |random| {
        let (way, bytes) = (way(random), 1 + random.place(3_000));
        // Where nothing was sent any more, it is cut all the same.
        (Box::new(move |door| door.cut_after(way, bytes)), |door| {
            if door.forget_cut() {
                door.cut();
            }
        })
    }),
    ("half closed", |random| {
        let way = way(random);
        (Box::new(move |door| door.half_close(way)), Proxy::cut)
    }),
    ("held", |_| (Box::new(|door| door.set(Weather::Held)), open)),
    ("black hole", |_| {
        (Box::new(|door| door.set(Weather::Held)), |door| {
            door.cut();
            open(door);
        })
    }),
    ("delayed", |random| {
        let by = Duration::from_millis(20 + random.below(400));
        (Box::new(move |door| door.set(Weather::Delayed(by))), open)
    }),
    ("slow", |random| {
        let rate = 5_000 + u32::try_from(random.below(60_000)).unwrap();
        (Box::new(move |door| door.set(Weather::Slow(rate))), open)
    }),
    ("answers lost", |_| {
        (Box::new(|door| door.set(Weather::Deaf)), |door| {
            door.cut();
            open(door);
        })
    }),
];

fn way(random: &mut Random) -> Way {
    if random.below(2) == 0 { Way::Requests } else { Way::Answers }
}

fn open(door: &Proxy) {
    door.set(Weather::Clear);
}

fn shut(door: &Proxy, weather: Weather) {
    door.set(weather);
    door.cut();
}

pub fn faults() -> Vec<Fault> {
    let of_kind = |(kind, strike): (&str, Strike)| {
        let postgres =
            Fault::new(format!("postgres link: {kind}"), 3, move |round, random| at(round, vec![0], strike(random)));
        let kafka = Fault::new(format!("kafka link: {kind}"), 3, move |round, random| {
            // The doors of one broker, or of all.
            let doors = match random.place(5) {
                place @ 0..3 => vec![place + 1],
                _ => vec![1, 2, 3],
            };
            at(round, doors, strike(random))
        });
        [postgres, kafka]
    };
    KINDS.into_iter().flat_map(of_kind).collect()
}

/// At the doors in these places: PostgreSQL's, then the brokers'.
fn at(round: &Round<'_>, places: Vec<usize>, (begin, end): (Begin, End)) -> Undo {
    for place in &places {
        begin(door(round, *place));
    }
    Box::new(move |round| {
        for place in &places {
            end(door(round, *place));
        }
    })
}

fn door<'a>(round: &'a Round<'_>, place: usize) -> &'a Proxy {
    round.bed.doors().nth(place).expect("a door")
}
