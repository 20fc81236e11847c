//! Scripts made from choices: of random numbers, or of a fuzzer's bytes.

/// Makes choices.
pub trait Choose {
    /// A number below `sides`.
    fn roll(&mut self, sides: usize) -> usize;
}

impl dyn Choose + '_ {
    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.roll(from.len())]
    }
}

const FUNCTIONS: &[&str] = &[
    "redis.call",
    "redis.pcall",
    "redis.error_reply",
    "redis.status_reply",
    "redis.sha1hex",
    "redis.setresp",
    "redis.log",
    "redis.acl_check_cmd",
    "server.call",
    "string.format",
    "string.rep",
    "string.find",
    "string.match",
    "string.gmatch",
    "string.gsub",
    "string.byte",
    "string.char",
    "string.sub",
    "string.reverse",
    "table.concat",
    "table.insert",
    "table.remove",
    "table.sort",
    "table.maxn",
    "table.foreach",
    "math.random",
    "math.randomseed",
    "math.floor",
    "math.fmod",
    "math.pow",
    "math.ldexp",
    "bit.band",
    "bit.lshift",
    "bit.tohex",
    "bit.rol",
    "cjson.encode",
    "cjson.decode",
    "cjson.encode_max_depth",
    "cjson.encode_sparse_array",
    "cmsgpack.pack",
    "cmsgpack.unpack",
    "cmsgpack.unpack_one",
    "cmsgpack.unpack_limit",
    "struct.pack",
    "struct.unpack",
    "struct.size",
    "pcall",
    "xpcall",
    "error",
    "assert",
    "select",
    "unpack",
    "tostring",
    "tonumber",
    "type",
    "next",
    "pairs",
    "ipairs",
    "rawget",
    "rawset",
    "rawequal",
    "setmetatable",
    "getmetatable",
    "load",
    "loadstring",
    "collectgarbage",
    "gcinfo",
    "coroutine.create",
    "coroutine.resume",
    "coroutine.wrap",
    "coroutine.yield",
    "coroutine.status",
    "coroutine.running",
    "os.clock",
    "nope",
    "string.nope",
];

const VALUES: &[&str] = &[
    "nil",
    "true",
    "false",
    "0",
    "1",
    "-1",
    "2",
    "3.7",
    "1e15",
    "-1e300",
    "1/0",
    "0/0",
    "2^31",
    "-2^31",
    "2^53",
    "''",
    "'a'",
    "'get'",
    "'set'",
    "'k'",
    "'lrange'",
    "'hgetall'",
    "'%a+'",
    "'(%w+)(%d*)'",
    "'%b()'",
    "'.-x'",
    "'[^a]'",
    "'%'",
    "'[1,{\"a\":null}]'",
    "'\\146\\1\\2'",
    "'>I2<i4c0s'",
    "'%5.2f %s %q'",
    "'\\0\\255'",
    "{}",
    "{1, 2, 3}",
    "{1, nil, 3}",
    "{a = 1}",
    "{err = 'x\\r\\ny'}",
    "{ok = 'x'}",
    "{map = {a = 1}}",
    "{set = {a = true}}",
    "{double = 1.5}",
    "a",
    "b",
    "KEYS",
    "ARGV",
    "KEYS[1]",
    "_G",
    "redis",
    "string",
    "cjson.null",
    "t",
    "f",
    "setmetatable({}, {__index = f})",
    "setmetatable({}, {__tostring = f})",
    "setmetatable({}, {__lt = f, __call = f})",
    "function(...) return ... end",
    "function() error({}) end",
    "function() while true do end end",
    "print",
    "pairs",
    "(...)",
];

fn expression(dice: &mut dyn Choose, depth: usize) -> String {
    if depth == 0 {
        return dice.pick(VALUES).to_owned();
    }
    match dice.roll(8) {
        0 | 1 => dice.pick(VALUES).to_owned(),
        2 => {
            let operator = dice.pick(&["+", "-", "*", "%", "^", "..", "==", "<", "and", "or"]);
            let left = expression(dice, depth - 1);
            format!("({left} {operator} {})", expression(dice, depth - 1))
        }
        3 => {
            let operator = dice.pick(&["#", "-", "not "]);
            format!("({operator}{})", expression(dice, depth - 1))
        }
        4 => format!("({})[{}]", expression(dice, depth - 1), expression(dice, depth - 1)),
        _ => {
            let name = dice.pick(FUNCTIONS);
            let count = dice.roll(4);
            let args: Vec<String> = (0..count).map(|_| expression(dice, depth - 1)).collect();
            format!("{name}({})", args.join(", "))
        }
    }
}

fn statement(dice: &mut dyn Choose, depth: usize) -> String {
    if depth == 0 {
        return format!("b = {}", expression(dice, 1));
    }
    match dice.roll(10) {
        0 => format!("a = {}", expression(dice, depth)),
        1 => format!("b = {}", expression(dice, depth)),
        2 => format!("t[{}] = {}", expression(dice, 1), expression(dice, depth)),
        3 => format!("for i = 1, {} do {} end", dice.roll(2000), statement(dice, depth - 1)),
        4 => format!(
            "for k, v in pairs({}) do {} end",
            dice.pick(VALUES),
            statement(dice, depth - 1)
        ),
        5 => format!("pcall(function() {} end)", statement(dice, depth - 1)),
        6 => format!("if {} then {} end", expression(dice, 1), statement(dice, depth - 1)),
        7 => format!("x{} = {}", dice.roll(3), expression(dice, depth)),
        8 => format!("f = function(...) return {} end", expression(dice, depth)),
        _ => format!("local _ = {}", expression(dice, depth)),
    }
}

fn statement_or_nothing(dice: &mut dyn Choose) -> String {
    match dice.roll(40) {
        // Not even Lua.
        0 => {
            dice.pick(&["end", "return", "local", ")", "'", "[[", "--[[", "goto x", "\u{1}"]).into()
        }
        _ => statement(dice, 3),
    }
}

/// A script that somebody who can choose would write, or not.
pub fn script(dice: &mut dyn Choose) -> String {
    let mut lines =
        vec!["local a, b, t, f = 1, 'b', {1, 2}, function(...) return ... end".to_owned()];
    for _ in 0..=dice.roll(6) {
        lines.push(statement_or_nothing(dice));
    }
    lines.push(format!("return {}", expression(dice, 3)));
    lines.join("\n")
}
