//! Arguments of hashes, sets, sorted sets and of commands over many keys.

use super::Generator;

const HASHES: &[&str] = &["hash1", "hash2", "hash3"];
const SETS: &[&str] = &["set1", "set2", "set3", "set4"];
const SORTED: &[&str] = &["zset1", "zset2", "zset3"];
/// All members have score 0, so that ranges by member mean something.
const SAME_SCORES: &[&str] = &["lex1", "lex2"];

impl Generator {
    fn key_of(&mut self, names: &[&str]) -> Vec<u8> {
        if self.one_in(12) { self.pick(super::KEYS) } else { self.pick(names) }
    }

    fn member(&mut self) -> Vec<u8> {
        match self.below(10) {
            0 => self.pick(super::INTEGERS),
            1 => {
                let len = [0, 22, 23, 63, 64, 65, 300][self.below(7)];
                vec![b'a' + self.below(3) as u8; len]
            }
            2 => self.number(-5, 600),
            3 => format!("m{}", self.below(600)).into_bytes(),
            _ => self.pick(&["a", "b", "c", "d", "e", "1", "2", "3", "x\0y", "\u{e9}"]),
        }
    }

    fn score(&mut self) -> Vec<u8> {
        match self.below(6) {
            0 => self.pick(super::FLOATS),
            1 => self.pick(super::INTEGERS),
            2 => format!("{}.5", self.below(10)).into_bytes(),
            _ => self.number(-5, 10),
        }
    }

    /// A few names, their number before them.
    fn counted_keys(&mut self, args: &mut Vec<Vec<u8>>) {
        let lists = args[0].eq_ignore_ascii_case(b"lmpop");
        let sets = args[0].to_ascii_lowercase().starts_with(b"s");
        let count = 1 + self.below(3);
        let said =
            if self.one_in(12) { self.pick(super::INTEGERS) } else { count.to_string().into() };
        args.push(said);
        for _ in 0..count {
            let key = match () {
                () if lists => self.key_of(&["list1", "list2", "list3", "list4"]),
                () if sets => self.key_of(SETS),
                () if self.one_in(5) => self.key_of(SETS),
                () => self.key_of(SORTED),
            };
            args.push(key);
        }
    }

    fn many(&mut self, args: &mut Vec<Vec<u8>>) {
        // Few commands do so much.
        let count = if self.one_in(4) { 100 + self.below(500) } else { self.below(20) };
        let start = self.below(300);
        let letters = self.one_in(2);
        for i in start..start + count {
            let member = if letters { format!("m{i}") } else { i.to_string() };
            match args[0].to_ascii_lowercase().as_slice() {
                b"sadd" | b"pfadd" => args.push(member.into_bytes()),
                b"hset" => args.extend([member.into_bytes(), format!("v{i}").into_bytes()]),
                _ => args.extend([(i / 3).to_string().into_bytes(), member.into_bytes()]),
            }
        }
    }

    fn combine_options(&mut self, args: &mut Vec<Vec<u8>>) {
        let keys = args.len().saturating_sub(if args[0].len() > 6 { 3 } else { 2 });
        if self.one_in(3) {
            args.push(b"WEIGHTS".to_vec());
            for _ in 0..keys {
                let weight = self.score();
                args.push(weight);
            }
        }
        if self.one_in(3) {
            args.push(b"AGGREGATE".to_vec());
            let kind = self.pick(&["SUM", "MIN", "MAX", "min", "avg"]);
            args.push(kind);
        }
        if self.one_in(3) {
            args.push(b"WITHSCORES".to_vec());
        }
    }

    fn bitfield_step(&mut self, args: &mut Vec<Vec<u8>>) {
        if self.one_in(4) {
            let kind = self.pick(&["WRAP", "SAT", "FAIL", "sat", "nope"]);
            args.extend([b"OVERFLOW".to_vec(), kind]);
        }
        let step = self.pick(&["GET", "SET", "INCRBY", "get", "incrby", "nope"]);
        let reads = step.eq_ignore_ascii_case(b"get");
        args.push(step);
        let kind = match self.below(10) {
            0 => self.pick(&["u64", "i65", "u0", "x8", "u", "i-1"]),
            1 => self.pick(&["i64", "u63", "i1", "u1"]),
            n => format!("{}{}", if n % 2 == 0 { 'i' } else { 'u' }, 1 + self.below(63)).into(),
        };
        args.push(kind);
        let at = match self.below(10) {
            0 => self.pick(&["-1", "x", "#-1", "#", "#x", "4294967296", "#9223372036854775807"]),
            1 | 2 => format!("#{}", self.below(9)).into_bytes(),
            _ => self.number(0, 200),
        };
        args.push(at);
        if !reads {
            let value = match self.below(4) {
                0 => self.pick(super::INTEGERS),
                1 => ((self.random() as i64) >> self.below(64)).to_string().into_bytes(),
                _ => self.number(-300, 300),
            };
            args.push(value);
        }
    }

    fn sort_option(&mut self, args: &mut Vec<Vec<u8>>) {
        let word = match self.below(12) {
            0 | 1 if !args.iter().any(|arg| arg == b"BY") => b"ALPHA".to_vec(),
            2 => b"DESC".to_vec(),
            3 => b"ASC".to_vec(),
            4 | 5 => {
                args.push(b"LIMIT".to_vec());
                let offset = self.number(-1, 4);
                args.push(offset);
                if self.one_in(8) { self.pick(super::INTEGERS) } else { self.number(-2, 6) }
            }
            // Ties under ALPHA have no order in Redis: numbers break ties by the elements.
            6 if !args.iter().any(|arg| arg == b"ALPHA") => {
                args.push(b"BY".to_vec());
                self.pick(&["{tag}w*", "{tag}h*->a", "{tag}w*", "{tag}none*"])
            }
            7 => {
                args.push(b"GET".to_vec());
                self.pick(&["#", "{tag}w*", "{tag}h*->a", "{tag}h*->", "{tag}w1"])
            }
            8 if args[0].eq_ignore_ascii_case(b"sort") => {
                args.push(b"STORE".to_vec());
                b"{tag}to".to_vec()
            }
            9 => self.pick(&["LIMIT", "BY", "GET", "STORE", "nope"]),
            _ => return,
        };
        args.push(word);
    }

    pub fn typed_word(&mut self, kind: char, args: &mut Vec<Vec<u8>>) {
        let word = match kind {
            'H' => self.key_of(HASHES),
            'T' => self.key_of(SETS),
            'Z' => self.key_of(SORTED),
            'Y' => self.pick(SAME_SCORES),
            'M' => self.member(),
            'F' => self.score(),
            '#' => return self.many(args),
            '!' => return self.counted_keys(args),
            'A' => return self.combine_options(args),
            // Redis would answer for hours to some.
            'N' => match self.below(6) {
                0 => self.pick(&[
                    "-9223372036854775808",
                    "9223372036854775807",
                    "4611686018427387904",
                    "x",
                    "",
                    "1.5",
                    "-100",
                ]),
                _ => self.number(-9, 12),
            },
            'B' => self.key_of(&["bits1", "bits2", "bits3"]),
            'J' => self.key_of(&["hll1", "hll2", "hll3"]),
            // Only tagged keys: what a pattern means must be in one slot.
            'y' => self.pick(&["{tag}set", "{tag}list", "{tag}zset", "{tag}ints"]),
            'r' => format!("{{tag}}w{}", self.below(10)).into_bytes(),
            'K' => format!("{{tag}}h{}", self.below(10)).into_bytes(),
            'd' => match self.below(12) {
                0 => self.pick(&["4294967296", "-1", "x", "9223372036854775807", "99999", "#1"]),
                _ => self.number(0, 300),
            },
            'e' => self.pick(&["0", "1", "0", "1", "0", "1", "2", "-1", "x"]),
            'l' => self.pick(&["BIT", "BYTE", "bit", "byte", "nope"]),
            'q' => self.pick(&["AND", "OR", "XOR", "NOT", "and", "nand"]),
            'a' => match self.below(7) {
                0 => b"LEN".to_vec(),
                1 => b"IDX".to_vec(),
                2 => b"WITHMATCHLEN".to_vec(),
                3 => {
                    args.push(b"MINMATCHLEN".to_vec());
                    self.number(-1, 4)
                }
                4 => self.pick(&["idx", "MINMATCHLEN", "nope"]),
                _ => return,
            },
            'g' => return self.bitfield_step(args),
            'h' => return self.sort_option(args),
            'D' => self.pick(&["MIN", "MAX", "min", "max", "up"]),
            'U' => b"encoding".to_vec(),
            'V' => self.pick(&["WITHVALUES", "WITHSCORES", "withvalues", "withscores", "nope"]),
            'W' => self.pick(&["NX", "XX", "GT", "LT", "CH", "INCR", "ch", "incr", "nope"]),
            'c' => self.pick(&["0", "0", "0", "0", "x", "-", "+0", " 1", "99999999999999999999"]),
            'I' => {
                if self.one_in(4) {
                    return;
                }
                let word = self.pick(&["LIMIT", "COUNT", "limit", "count", "nope"]);
                args.push(word);
                if self.one_in(5) { self.pick(super::INTEGERS) } else { self.number(0, 5) }
            }
            'P' => match self.below(6) {
                0 => {
                    args.push(b"MATCH".to_vec());
                    self.pick(&["*", "a*", "m?", "[ab]", "m*1", "1"])
                }
                1 => {
                    args.push(b"COUNT".to_vec());
                    self.pick(&["1000000", "5000000", "100000", "0", "-1", "x"])
                }
                2 => self.pick(&["MATCH", "COUNT", "nope"]),
                _ => return,
            },
            'R' => match self.below(8) {
                0 => self.pick(&["-inf", "+inf", "inf", "(inf", "(-inf"]),
                1 => self.pick(super::FLOATS),
                2 => self.pick(&["(", "((1", "nan", "", " 1", "1 ", "(1x", "1e400", "0x10"]),
                3 => format!("({}", self.below(8)).into_bytes(),
                _ => self.number(-5, 10),
            },
            'X' => match self.below(8) {
                0 => self.pick(&["a", "", "(", "[", "+x", "-x", "1"]),
                1 | 2 => b"-".to_vec(),
                3 | 4 => b"+".to_vec(),
                _ => {
                    let mut bound = vec![if self.one_in(2) { b'[' } else { b'(' }];
                    bound.extend(self.member());
                    bound
                }
            },
            'Q' => match self.below(8) {
                0 => b"REV".to_vec(),
                1 => b"BYSCORE".to_vec(),
                2 => b"BYLEX".to_vec(),
                3 => b"WITHSCORES".to_vec(),
                4 | 5 => {
                    args.push(b"LIMIT".to_vec());
                    let offset = self.number(-1, 4);
                    args.push(offset);
                    if self.one_in(8) { self.pick(super::INTEGERS) } else { self.number(-2, 6) }
                }
                6 => self.pick(&["LIMIT", "rev", "nope"]),
                _ => return,
            },
            other => panic!("no such kind of argument: {other}"),
        };
        args.push(word);
    }

    /// `Y` keys have equal scores only.
    pub fn same_scores(args: &mut [Vec<u8>]) {
        let to_lex = args.get(1).is_some_and(|key| key.starts_with(b"lex"));
        if to_lex && args[0].eq_ignore_ascii_case(b"zadd") {
            args[2..].iter_mut().step_by(2).for_each(|score| *score = b"0".to_vec());
        }
    }
}
