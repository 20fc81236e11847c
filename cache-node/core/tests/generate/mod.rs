//! Random commands: mostly well-formed, over few keys, so that they meet each other's values.

mod shapes;
mod typed;

use shapes::SHAPES;

/// One command for both sides.
#[derive(Debug)]
pub struct Command {
    /// The command's name in lower case.
    pub name: String,
    /// The database it is for.
    pub database: u16,
    /// Name and arguments.
    pub args: Vec<Vec<u8>>,
}

impl Command {
    /// Whether it is about a range of members.
    pub fn is_by_lex(&self) -> bool {
        self.name.contains("lex") || self.args.iter().any(|arg| arg.eq_ignore_ascii_case(b"bylex"))
    }
}

/// A seeded source of commands.
pub struct Generator {
    state: u64,
}

const KEYS: &[&str] = &[
    "k1",
    "k2",
    "k3",
    "k4",
    "k5",
    "list1",
    "list2",
    "list3",
    "list4",
    "{tag}a",
    "{tag}b",
    "",
    "a key with\r\nlines",
    "k\0nul",
    "a-key-that-is-much-longer-than-what-fits-inline",
];

const INTEGERS: &[&str] = &[
    "0",
    "1",
    "-1",
    "2",
    "3",
    "-2",
    "5",
    "-5",
    "10",
    "100",
    "-100",
    "9223372036854775807",
    "-9223372036854775808",
    "-9223372036854775807",
    "9223372036854775808",
    "1.5",
    "abc",
    "",
    " 1",
    "+1",
    "01",
    "4294967296",
    "2147483648",
    "-2147483649",
];

const FLOATS: &[&str] = &[
    "0",
    "1",
    "-1",
    "0.1",
    "0.2",
    "10.5",
    "-3.25",
    "5.0e3",
    "1e-5",
    "1e17",
    "123456789.123456789",
    "3.0000000000000001",
    "-0.0",
    "1e300",
    "0.3333333333333333",
    "99999999999999999999",
    "abc",
    "",
    "nan",
    "inf",
    "-inf",
    "1e",
    "0.00000000000000001",
    "1e-30",
    "+2",
    ".5",
    "7.",
    " 1",
];

impl Generator {
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.random() % bound as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick(&mut self, words: &[&str]) -> Vec<u8> {
        words[self.below(words.len())].as_bytes().to_vec()
    }

    fn number(&mut self, from: i64, to: i64) -> Vec<u8> {
        (from + self.below((to - from) as usize) as i64).to_string().into_bytes()
    }

    fn value(&mut self) -> Vec<u8> {
        match self.below(9) {
            0 => self.pick(INTEGERS),
            1 => self.pick(FLOATS),
            2 => self.number(-20, 20_000),
            3 => {
                let len = [0, 1, 21, 22, 23, 44, 45, 46, 200, 5000][self.below(10)];
                (0..len).map(|_| self.random() as u8).collect()
            }
            _ => self.pick(&["a", "b", "c", "d", "x y", "value"]),
        }
    }

    /// Lifetimes are long or over, so that nothing ends between the two sides' answers.
    fn lifetime(&mut self, unit_ms: i64) -> Vec<u8> {
        if self.one_in(4) {
            let mut words = INTEGERS.to_vec();
            words.retain(|word| !matches!(*word, "1" | "2" | "3" | "5" | "10"));
            let word = self.pick(&words);
            // A hundred of a small unit may end too soon.
            return if word == b"100" { b"-7".to_vec() } else { word };
        }
        let seconds = 1_000 + self.below(1_000_000) as i64;
        (seconds * 1000 / unit_ms).to_string().into_bytes()
    }

    fn time(&mut self, unit_ms: i64) -> Vec<u8> {
        if self.one_in(3) {
            return self.pick(INTEGERS);
        }
        let seconds = 4_000_000_000 + self.below(1_000_000) as i64;
        (seconds * 1000 / unit_ms).to_string().into_bytes()
    }

    fn timed_option(&mut self, args: &mut Vec<Vec<u8>>) {
        let kind = self.below(4);
        args.push([&b"EX"[..], b"PX", b"EXAT", b"PXAT"][kind].to_vec());
        args.push(match kind {
            0 => self.lifetime(1000),
            1 => self.lifetime(1),
            2 => self.time(1000),
            _ => self.time(1),
        });
    }

    fn word(&mut self, kind: char, args: &mut Vec<Vec<u8>>) {
        let word = match kind {
            'k' => self.pick(KEYS),
            'v' => self.value(),
            'i' | 'j' => {
                if self.one_in(5) {
                    self.pick(INTEGERS)
                } else {
                    self.number(-8, 9)
                }
            }
            'f' if self.one_in(2) => {
                let (whole, part) = (self.random() as i32, self.random() >> self.below(64));
                let power = self.below(40) as i32 - 25;
                format!("{whole}.{part}e{power}").into_bytes()
            }
            'f' => self.pick(FLOATS),
            't' => self.lifetime(1000),
            'm' => self.lifetime(1),
            'u' => self.time(1000),
            'w' => self.time(1),
            'n' => {
                if self.one_in(4) {
                    self.pick(INTEGERS)
                } else {
                    self.number(0, 6)
                }
            }
            'o' => match self.below(4) {
                0 => self.pick(&[
                    "-1",
                    "536870912",
                    "9223372036854775807",
                    "9223372036854775806",
                    "x",
                    "2000",
                ]),
                _ => self.number(0, 60),
            },
            'p' => {
                self.pick(&["*", "k*", "*1", "k?", "[kl]*", "*[^12]", "\\*", "l*t*", "**", "[a"])
            }
            'x' => self.pick(&["abc", "-", "1x", " 1"]),
            's' => self.pick(&["LEFT", "RIGHT", "left", "right", "up"]),
            'b' => self.pick(&["BEFORE", "AFTER", "before", "after", "at"]),
            'E' => self.pick(&["NX", "XX", "GT", "LT", "gt", "nope"]),
            'O' => self.pick(&["encoding", "ENCODING", "refcount", "idletime", "freq", "nope"]),
            'S' if self.one_in(2) => return self.timed_option(args),
            'S' => self.pick(&["NX", "XX", "GET", "KEEPTTL", "get", "nx", "PERSIST", "nope"]),
            'G' if self.one_in(2) => return self.timed_option(args),
            'G' => self.pick(&["PERSIST", "persist", "KEEPTTL", "NX", "nope"]),
            'L' => {
                let word = self.pick(&["RANK", "COUNT", "MAXLEN", "rank", "nope"]);
                args.push(word);
                // The least rank overflows in Redis 7.0; there is nothing to compare with.
                let value = if self.one_in(4) { self.pick(INTEGERS) } else { self.number(-3, 5) };
                if value == i64::MIN.to_string().as_bytes() { b"1".to_vec() } else { value }
            }
            'C' if self.one_in(2) => b"REPLACE".to_vec(),
            'C' => {
                args.push(b"DB".to_vec());
                self.pick(&["0", "1", "2", "15", "16", "-1", "x", "99999999999"])
            }
            other => return self.typed_word(other, args),
        };
        args.push(word);
    }

    /// The next command.
    pub fn command(&mut self) -> Command {
        let (name, shape) = SHAPES[self.below(SHAPES.len())];
        let spelled = match self.below(4) {
            0 => name.to_ascii_uppercase(),
            _ => name.to_owned(),
        };
        let mut args = vec![spelled.into_bytes()];
        let mut last = 'k';
        for kind in shape.chars() {
            if kind == '*' {
                for _ in 0..self.below(4) {
                    self.word(last, &mut args);
                }
            } else {
                self.word(kind, &mut args);
                last = kind;
            }
        }
        // Now and then something is missing, too much, or in the wrong place.
        match self.below(40) {
            0 if args.len() > 1 => {
                args.pop();
            }
            // ZRANK takes WITHSCORE here already, as Redis does from 7.2 on; and Redis would answer
            // for hours to some counts of random members.
            1 if !name.ends_with("rank") && !name.contains("rand") => {
                let value = self.value();
                args.push(value);
            }
            2 if args.len() > 2 => args.swap(1, 2),
            _ => {}
        }
        Self::same_scores(&mut args);
        let database = if self.one_in(50) { 1 } else { 0 };
        Command { name: name.to_owned(), database, args }
    }
}
