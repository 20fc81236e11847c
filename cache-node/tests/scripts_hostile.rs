//! S3: a script cannot leave its sandbox, its memory bound or its time bound, and its error text
//! cannot inject protocol.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use common::{Member, Raw};
use hypercache_core::resp::reply_len;

const QUICK: &str = "script:\n  time_limit: 150ms\n  memory_limit: 8MB\n";

fn eval(raw: &mut Raw, script: &str) -> String {
    // Shown when the test fails: the last one is at fault.
    println!("{script}");
    let reply = raw.ask(&[b"EVAL", script.as_bytes(), b"0"]);
    String::from_utf8_lossy(&reply).into_owned()
}

/// Whether the member is as it was: a script runs, and sees nothing of those before.
fn is_well(raw: &mut Raw) {
    assert_eq!(eval(raw, "return redis.call('ping')"), "+PONG\r\n");
    let twice =
        "return {type(string.format), type(redis.call), #KEYS, tostring(rawget(_G, 'leak'))}";
    let wanted = "*4\r\n$8\r\nfunction\r\n$8\r\nfunction\r\n:0\r\n$3\r\nnil\r\n";
    assert_eq!(eval(raw, twice), wanted);
}

#[test]
fn s3_a_script_cannot_run_beyond_its_time_whatever_it_catches() {
    let member = Member::start_with(QUICK, &[]);
    let mut raw = member.raw();
    for script in [
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "local function f() pcall(f) while true do pcall(f) end end f()",
        "while true do xpcall(function() while true do end end, function() while true do end end) end",
        "repeat local co = coroutine.create(function() while true do end end) \
         coroutine.resume(co) until false",
        "local function f() while true do local c = coroutine.wrap(f) pcall(c) end end f()",
        "while true do pcall(coroutine.wrap(function() while true do \
         pcall(coroutine.wrap(function() while true do end end)) end end)) end",
        "while true do load(function() while true do end end) end",
        "while true do redis.pcall('get', 'x') end",
        "while true do pcall(redis.call, 'nope') end",
        "while true do pcall(error) end",
        "while true do pcall(string.rep, 'x', 1e6) end",
        "local s = string.rep('a', 30) while true do s:find('a?a?a?a?a?a?a?a?a?a?aaaaaaaaaab') end",
        // Patterns that go back and forth for ever.
        "return string.find(string.rep('a', 40), string.rep('a*', 20) .. 'b')",
        "return string.match(string.rep('a', 100000), '.-.-.-.-b')",
        "return string.gsub(string.rep('a', 40), string.rep('a?', 40) .. string.rep('a', 40) .. 'b', '')",
        "for _ in string.gmatch(string.rep('x', 1e5), '.-.-.-y') do end",
        "while true do pcall(string.find, string.rep('a', 1e5), '.-.-.-b') end",
        // Comparators that never agree.
        "local t = {} for i = 1, 1e5 do t[i] = i end \
         while true do table.sort(t, function(a, b) return true end) end",
        "local t = {} for i = 1, 3e4 do t[i] = i end while true do pcall(table.sort, t, rawequal) end",
        "local t = {} for i = 1, 3e4 do t[i] = tostring(i) end while true do table.sort(t) end",
        "local t = setmetatable({}, {__lt = function() while true do end end}) \
         table.sort({t, setmetatable({}, getmetatable(t))})",
        // Metamethods without end.
        "local t = setmetatable({}, {__index = function(t, k) return t[k + 1] end}) return t[1]",
        "local t = setmetatable({}, {__tostring = function() while true do end end}) tostring(t)",
        "local t t = setmetatable({}, {__index = function() while true do pcall(rawget, t, 1) end end}) \
         return t.x",
        // What each step of takes long.
        "local s = string.rep('x', 3e6) while true do local t = s .. 'y' end",
        "local s = string.rep('x', 3e6) while true do local t = s:upper() end",
        "local t = {} for i = 1, 1e5 do t[i] = 'x' end while true do table.concat(t) end",
        "local t = {} for i = 1, 1e5 do t[i] = i end while true do table.insert(t, 1, 0) table.remove(t, 1) end",
        "while true do collectgarbage() end",
        "local t = {} for i = 1, 1e4 do t[i] = i end while true do cjson.encode(t) end",
        "local s = '[' .. string.rep('1,', 1e5) .. '1]' while true do cjson.decode(s) end",
        "local s = cmsgpack.pack(string.rep('x', 1e6)) while true do cmsgpack.unpack(s) end",
        "while true do struct.pack(string.rep('i4', 100), 1) end",
        "while true do loadstring(string.rep('local x = 1 ', 1e4)) end",
    ] {
        let reply = eval(&mut raw, script);
        let stopped = reply.contains("it ran longer than script.time_limit");
        let ended =
            ["stack overflow", "not enough memory", "pattern too complex", "loop in gettable"];
        let ended = reply.starts_with('-') && ended.iter().any(|words| reply.contains(words));
        let wrong = reply.starts_with("-ERR user_script:1: bad argument");
        assert!(stopped || ended || wrong, "{script}: {reply}");
        is_well(&mut raw);
    }
}

#[test]
fn s3_a_script_that_has_written_is_stopped_with_words_of_its_own_and_its_writes_stay() {
    let member = Member::start_with(QUICK, &[]);
    let mut raw = member.raw();
    let reply = eval(&mut raw, "redis.call('set', 'k', 'written') while true do end");
    assert!(reply.contains("Script stopped after it had written"), "{reply}");
    raw.command(&[b"GET", b"k"]);
    raw.expect(b"$7\r\nwritten\r\n");
    is_well(&mut raw);
}

#[test]
fn s3_a_script_cannot_take_more_than_its_memory() {
    let member = Member::start_with("script:\n  time_limit: 5s\n  memory_limit: 8MB\n", &[]);
    let mut raw = member.raw();
    is_well(&mut raw);
    let before = member.resident_bytes();
    for script in [
        "return string.rep('x', 1e9)",
        "return string.rep('x', 2147483647)",
        "return string.rep('', 1e18)",
        "local s = 'x' while true do s = s .. s end",
        "local t = {} while true do t[#t + 1] = {} end",
        "local t = {} for i = 1, 1e9 do t[i] = tostring(i) end",
        "local t = {} while true do t[#t + 1] = coroutine.create(function() end) end",
        "local t = {} for i = 1, 1e6 do t[i] = string.gmatch('abc', 'b') end return #t",
        "local t = {} for i = 1, 1e6 do t[i] = function() return i end end",
        "return #string.gsub(string.rep('x', 1e6), 'x', string.rep('y', 1000))",
        "return #string.gsub(string.rep('x', 1e6), 'x', function() return string.rep('y', 1000) end)",
        "return #table.concat({string.rep('x', 4e6), string.rep('y', 4e6), string.rep('z', 4e6)})",
        "local t = {} for i = 1, 1e5 do t[i] = string.rep('x', 1000) end return #table.concat(t)",
        "return #cjson.encode(setmetatable({}, {})) + #cjson.encode(string.rep('\\1', 7e6))",
        "return cjson.decode('[' .. string.rep('[],', 2e6) .. '[]]')",
        "local t = {string.rep('x', 1e6)} local r = {} for i = 1, 100 do r[i] = t[1] end return #cmsgpack.pack(r)",
        "return cmsgpack.unpack('\\221\\255\\255\\255\\255')",
        "return #string.format('%s%s%s', string.rep('x', 4e6), string.rep('x', 4e6), string.rep('x', 4e6))",
        "return struct.pack('c100000000', 'x')",
        "return loadstring('return ' .. string.rep('{', 1e6))",
        "return loadstring(string.rep('local a = {} ', 1e6))",
        // A reply that is larger than all its parts.
        "local s = string.rep('x', 1e6) local t = {} for i = 1, 1000 do t[i] = s end return t",
        "local t = {} for i = 1, 20 do t = {t, t, t} end return t",
        "local t = {} t[1] = t t[2] = t return t",
    ] {
        let reply = eval(&mut raw, script);
        assert!(reply.len() < 9 << 20, "{script}: {} bytes", reply.len());
        is_well(&mut raw);
    }
    let grown = member.resident_bytes().saturating_sub(before);
    assert!(grown < 150 << 20, "{grown} bytes more");
}

#[test]
fn s3_a_script_cannot_leave_its_sandbox() {
    let member = Member::start_with(QUICK, &[]);
    let mut raw = member.raw();
    for script in [
        "return io.open('/etc/passwd')",
        "return os.execute('true')",
        "return os.getenv('PATH')",
        "return require('os')",
        "return package.loadlib('x', 'y')",
        "return dofile('/etc/passwd')",
        "return loadfile('/etc/passwd')",
        "return debug.getregistry()",
        "return loadstring(string.dump(function() return 1 end))()",
        "return string.dump(redis.call)",
        "return string.dump(string.find)",
        "return newproxy(true)",
        "return getfenv(0)",
        "return setfenv(1, {})",
        "print('x')",
        "leak = 1",
        "_G.leak = 1",
        "rawset(_G, 'leak', 1)",
        "table.insert(_G, 'leak')",
        "table.sort(_G)",
        "table.remove(string)",
        "string.format = nil",
        "redis.call = function() end",
        "rawset(string, 'format', nil)",
        "setmetatable(_G, {__index = function() return 1 end})",
        "setmetatable(string, nil)",
        "getmetatable('').__index = nil",
        "getmetatable('').__index.format = nil",
        "getmetatable(_G).__index.leak = 1",
        "getmetatable(redis).__index = nil",
        "getmetatable(getmetatable('')).x = 1",
        "local f = loadstring('leak = 1') f()",
        "load(function() if not leaked then return 'leak = 1' end end)",
        "for k, v in pairs(_G) do if k == 'string' then v.format = nil end end",
        "local _, s = next(_G) while _ do if type(s) == 'table' then s.leak = 1 end _, s = next(_G, _) end",
        "coroutine.wrap(function() leak = 1 end)()",
        "cjson.null.x = 1",
        "cjson.encode = nil",
        "error(setmetatable({}, {__tostring = function() leak = 1 end}))",
    ] {
        let reply = eval(&mut raw, script);
        let bytes = script.starts_with("load(");
        assert!(reply.starts_with('-') || bytes, "{script}: {reply}");
        is_well(&mut raw);
    }
    // Settings of one script are none of the next.
    eval(&mut raw, "cjson.encode_max_depth(1) cjson.encode_number_precision(1) redis.setresp(3)");
    assert_eq!(eval(&mut raw, "return cjson.encode({{1.25}})"), "$8\r\n[[1.25]]\r\n");
    assert_eq!(eval(&mut raw, "return true"), ":1\r\n");
    // Compiled code could be made to break the interpreter.
    for script in ["\u{1b}Lua", "\u{1b}LuaQ\0\u{1}\u{4}"] {
        assert!(eval(&mut raw, script).starts_with("-ERR Error compiling script"));
        let inside = format!("return loadstring('{}')", "\\27Lua\\81\\0");
        assert_eq!(eval(&mut raw, &inside), "$-1\r\n");
    }
}

#[test]
fn s3_s5_ranges_of_unpack_do_not_overflow() {
    let member = Member::start_with(QUICK, &[]);
    let mut raw = member.raw();
    for range in
        ["-2, 2147483647", "0, 2147483647", "-2147483648, -2", "-2147483648, 2147483647", "1, 8001"]
    {
        let reply = eval(&mut raw, &format!("return {{unpack({{1,2,3}}, {range})}}"));
        assert!(reply.contains("too many results to unpack"), "{range}: {reply}");
        is_well(&mut raw);
    }
    for (range, wanted) in [("-1, -2", "*0\r\n"), ("2, 3", "*2\r\n:2\r\n:3\r\n"), ("1, 7000", "*3")]
    {
        let reply = eval(&mut raw, &format!("return {{unpack({{1,2,3}}, {range})}}"));
        assert!(reply.starts_with(wanted), "{range}: {reply}");
    }
    assert!(eval(&mut raw, "return unpack(1)").contains("table expected"));
}

#[test]
fn s3_deep_nesting_neither_crashes_nor_hangs() {
    let member = Member::start_with(QUICK, &[]);
    let mut raw = member.raw();
    for script in [
        "local function f() return 1 + f() end return f()",
        "local function f() f() f() end f()",
        "local t = {} for i = 1, 1e5 do t = {t} end return t",
        "local t = {} for i = 1, 1e5 do t = {t} end return cjson.encode(t)",
        "local t = {} for i = 1, 1e5 do t = {t} end return #cmsgpack.pack(t)",
        "return cjson.decode(string.rep('[', 1e6))",
        "return cjson.decode(string.rep('{\"a\":', 1e6))",
        "cjson.decode_max_depth(1e6) return cjson.decode(string.rep('[', 1e6))",
        "cjson.encode_max_depth(1e6) local t = {} t[1] = t return cjson.encode(t)",
        "return cmsgpack.unpack(string.rep('\\145', 1e6))",
        "return cmsgpack.unpack(string.rep('\\129', 1e6))",
        "return loadstring(string.rep('(', 1e5))",
        "return loadstring('return ' .. string.rep('{', 1e4) .. string.rep('}', 1e4))",
        "return loadstring('return ' .. string.rep('-', 1e4) .. '1')",
        "local s = 'x' for i = 1, 1e4 do s = 'function() ' .. s end return loadstring(s)",
        "return string.find('x', string.rep('(', 1e5))",
        "return string.find('x', string.rep('x?', 1e5))",
        "return string.match(string.rep('(', 1e5), '%b()')",
        "local function f(n) return pcall(f, n + 1) end return f(0)",
        "local function f() return coroutine.wrap(f)() end return f()",
        "local function f() return coroutine.resume(coroutine.create(f)) end return f()",
        "local t = {} t.__index = t setmetatable(t, t) return t.x",
        "local a, b = {}, {} setmetatable(a, {__index = b}) setmetatable(b, {__index = a}) return a.x",
        "return tostring(setmetatable({}, {__tostring = function(s) return tostring(s) end}))",
        "return {unpack({}, 1, 1e7)}",
        "return bit.bor(unpack({}, 1, 7000))",
        "local t = {} for i = 1, 7900 do t[i] = tostring(i) end return #cmsgpack.pack(unpack(t))",
        "local t = {} for i = 1, 7900 do t[i] = 'x' end return redis.call('del', unpack(t))",
        "return string.char(unpack({}, 1, 1e6))",
        "local t = {} for i = 1, 5000 do t[i] = 'x' end return #string.format(string.rep('%s', 5000), unpack(t))",
        "return select(-1)",
        "return select(2147483648, 1)",
        "return table.concat({}, 'x', 1, 1e9)",
        "table.insert({}, -2147483648, 1)",
        "table.insert({}, 2147483647, 1)",
        "return string.rep('x', -1e300)",
        "return string.sub('abc', -1e300, 1e300)",
        "return ('x'):byte(-1e9, 1e9)",
        "return math.random(-1e300, 1e300)",
        "return string.format('%99.99f', 1e308)",
        "return string.format('%1000d', 1)",
        "return struct.size('i4' .. string.rep('c2147483647', 100))",
        "return struct.unpack('c2147483647', 'x')",
        "return struct.unpack('i4', 'x', 2147483647)",
        "return struct.pack('!3i4', 1)",
    ] {
        let reply = eval(&mut raw, script);
        assert!(!reply.is_empty(), "{script}");
        is_well(&mut raw);
    }
}

#[test]
fn s3_an_error_cannot_inject_protocol() {
    let member = Member::start_with(QUICK, &[]);
    let mut raw = member.raw();
    let inject = "x\\r\\n+INJECTED\\r\\n$3\\r\\nabc\\r\\n";
    for script in [
        format!("error('{inject}')"),
        format!("error({{err = '{inject}'}})"),
        format!("return {{err = '{inject}'}}"),
        format!("return {{ok = '{inject}'}}"),
        format!("return redis.error_reply('{inject}')"),
        format!("return redis.status_reply('{inject}')"),
        format!("return redis.call('{inject}')"),
        format!("return redis.pcall('get', '{inject}', '{inject}')"),
        format!("return {{big_number = '{inject}'}}"),
        format!("return {{{{err = '{inject}'}}, 1}}"),
        format!("return {{verbatim_string = {{format = '{inject}', string = 'x'}}}}"),
        format!("local t = {{}} t['{inject}'].x = 1"),
        format!("return loadstring('error(1)', '{inject}')()"),
        format!("loadstring('x.y.z = 1', '@{inject}')()"),
        format!("return _G['{inject}']"),
        format!("return tonumber('{inject}', 99)"),
        format!("return cjson.decode('{inject}')"),
        format!("collectgarbage('{inject}')"),
        format!("redis.log(redis.LOG_WARNING, '{inject}') return redis.status_reply('ok')"),
    ] {
        for protocol in [&b"2"[..], b"3"] {
            raw.ask(&[b"HELLO", protocol]);
            let reply = raw.ask(&[b"EVAL", script.as_bytes(), b"0"]);
            assert_eq!(reply_len(&reply).unwrap(), Some(reply.len()));
            assert!(!reply.windows(12).any(|part| part == b"\r\n+INJECTED\r"), "{script}");
            // The next reply is the next command's.
            raw.command(&[b"PING"]);
            raw.expect(b"+PONG\r\n");
        }
    }
}
