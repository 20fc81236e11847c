//! Lua's C interface, used directly where mlua has no safe way: errors that are any Lua value,
//! functions that no `pcall` may hold back, the count hook, and whole replies in one call.
//!
//! Lua 5.1 reports errors with `longjmp`. A function here that Lua calls, or that calls Lua in a way
//! that may fail, therefore holds nothing that needs to be dropped: only numbers, references and
//! pointers. What needs dropping lives in functions that return before Lua is called again, or in
//! the thread's [`Scratch`]. Every such function runs inside a protected call: scripts inside
//! [`call`], the others inside `Lua::exec_raw`.

#![allow(unsafe_code, reason = "this file is about what only unsafe code can say")]

use std::cell::UnsafeCell;
use std::ffi::{CStr, c_char, c_int, c_void};

use mlua::ffi::{
    LUA_MULTRET, LUA_TLIGHTUSERDATA, LUA_TNUMBER, LUA_TSTRING, LUA_TTABLE, lua_CFunction,
    lua_Debug, lua_State, lua_upvalueindex,
};
use mlua::{Function, LightUserData, Lua, Table, Value, ffi};
use smallvec::SmallVec;

use super::super::{current, limits};
use super::reply::{self, Item};

/// The address that marks "raise what follows" among a callback's results.
static RAISE: u8 = 0;
/// The address that marks the metatable of a read-only view.
static VIEW: u8 = 0;

/// What a callback returns first to raise an error: see [`callback`].
pub fn raise_mark() -> LightUserData {
    LightUserData((&raw const RAISE).cast_mut().cast())
}

/// What stands at 1 in the metatable of a read-only view; the table that is viewed stands at 2.
pub fn view_mark() -> LightUserData {
    LightUserData((&raw const VIEW).cast_mut().cast())
}

/// Buffers of this thread's interpreter, which a `longjmp` cannot lose.
#[derive(Default)]
struct Scratch {
    /// The reply of the command that ran last.
    reply: Vec<u8>,
    /// Numbers among its arguments, as text.
    numbers: Vec<u8>,
    /// Where the last error was raised.
    source: Vec<u8>,
    line: i32,
}

thread_local! {
    static SCRATCH: UnsafeCell<Scratch> = UnsafeCell::default();
}

/// This thread's buffers.
///
/// # Safety
/// Nobody else may hold a reference from here at the same time; a `longjmp` ends all that it skips.
unsafe fn scratch<'a>() -> &'a mut Scratch {
    let at = SCRATCH.with(UnsafeCell::get);
    // SAFETY: the value lives as long as the thread, and the caller sees to it that this reference
    // is the only one.
    unsafe { &mut *at }
}

/// Raises `text`, with the place of the Lua code that runs in front of it.
unsafe fn raise(l: *mut lua_State, text: &str) -> ! {
    // SAFETY: Lua called us, so there is room for three values; nothing here needs to be dropped.
    unsafe {
        ffi::luaL_where(l, 1);
        ffi::lua_pushlstring_(l, text.as_ptr().cast(), text.len());
        ffi::lua_concat(l, 2);
        ffi::lua_error(l)
    }
}

/// Raises `text` as it is.
unsafe fn raise_plain(l: *mut lua_State, text: &str) -> ! {
    // SAFETY: as in `raise`.
    unsafe {
        ffi::lua_pushlstring_(l, text.as_ptr().cast(), text.len());
        ffi::lua_error(l)
    }
}

/// A callback in Rust (its upvalue) that may raise any value. Where its first result is
/// [`raise_mark`], the second is raised; with its place in front if the third is true. A second
/// upvalue is a function in Lua, called instead where the third argument is a table or function:
/// only Lua may call what a script gave, or its errors would not stay what they are.
unsafe extern "C-unwind" fn callback(l: *mut lua_State) -> c_int {
    // SAFETY: Lua called us with one or two upvalues and room for twenty values more.
    unsafe {
        let count = ffi::lua_gettop(l);
        let calls = matches!(ffi::lua_type(l, 3), LUA_TTABLE | ffi::LUA_TFUNCTION)
            && ffi::lua_type(l, lua_upvalueindex(2)) == ffi::LUA_TFUNCTION;
        ffi::lua_pushvalue(l, lua_upvalueindex(if calls { 2 } else { 1 }));
        ffi::lua_insert(l, 1);
        ffi::lua_call(l, count, LUA_MULTRET);
        if ffi::lua_type(l, 1) == LUA_TLIGHTUSERDATA && ffi::lua_touserdata(l, 1) == raise_mark().0
        {
            ffi::lua_settop(l, 3);
            if ffi::lua_toboolean(l, 3) != 0 {
                ffi::luaL_where(l, 1);
                ffi::lua_pushvalue(l, 2);
                ffi::lua_concat(l, 2);
            } else {
                ffi::lua_settop(l, 2);
            }
            ffi::lua_error(l);
        }
        ffi::lua_gettop(l)
    }
}

/// Wraps a callback in Rust so that it can raise: see [`raise_mark`].
///
/// # Errors
/// No memory.
pub fn raising(lua: &Lua, function: Function) -> mlua::Result<Function> {
    // SAFETY: the function is on the stack; it becomes the upvalue that `callback` asks for.
    unsafe { lua.exec_raw(function, |l| ffi::lua_pushcclosure(l, callback, 1)) }
}

/// As [`raising`], with a function in Lua that is called where the third argument is a table or a
/// function.
///
/// # Errors
/// No memory.
pub fn raising_or(lua: &Lua, function: Function, calls: Function) -> mlua::Result<Function> {
    // SAFETY: both functions are on the stack; they become the upvalues that `callback` knows.
    unsafe { lua.exec_raw((function, calls), |l| ffi::lua_pushcclosure(l, callback, 2)) }
}

/// The function of C's that is the closure's upvalue.
unsafe fn original(l: *mut lua_State) -> lua_CFunction {
    // SAFETY: `wrap` made the closure, with such a pointer as its upvalue.
    unsafe {
        let pointer = ffi::lua_touserdata(l, lua_upvalueindex(1));
        std::mem::transmute::<*mut c_void, lua_CFunction>(pointer)
    }
}

/// The table that a read-only view shows, pushed; false (and nothing pushed) for other values.
unsafe fn push_viewed(l: *mut lua_State, index: c_int) -> bool {
    // SAFETY: raw reads of a table that is there; three values at most are pushed, and taken off.
    unsafe {
        if ffi::lua_type(l, index) != LUA_TTABLE || ffi::lua_getmetatable(l, index) == 0 {
            return false;
        }
        ffi::lua_rawgeti_(l, -1, 1);
        let marked = ffi::lua_type(l, -1) == LUA_TLIGHTUSERDATA
            && ffi::lua_touserdata(l, -1) == view_mark().0;
        ffi::lua_settop(l, -2);
        if !marked {
            ffi::lua_settop(l, -2);
            return false;
        }
        ffi::lua_rawgeti_(l, -1, 2);
        ffi::lua_remove(l, -2);
        true
    }
}

/// Lua's own function, kept from writing to a read-only view.
unsafe extern "C-unwind" fn guarded(l: *mut lua_State) -> c_int {
    // SAFETY: Lua called us; the original looks at the same arguments.
    unsafe {
        if push_viewed(l, 1) {
            raise_plain(l, READ_ONLY);
        }
        original(l)(l)
    }
}

/// `table.insert`, which would shift for ever from a position far below the table.
unsafe extern "C-unwind" fn insert(l: *mut lua_State) -> c_int {
    // SAFETY: as in `guarded`.
    unsafe {
        if push_viewed(l, 1) {
            raise_plain(l, READ_ONLY);
        }
        if ffi::lua_gettop(l) == 3
            && ffi::lua_type(l, 2) == LUA_TNUMBER
            && ffi::lua_tonumber(l, 2) < 0.0
        {
            raise(l, "bad argument #2 to 'insert' (position out of bounds)");
        }
        original(l)(l)
    }
}

/// `unpack`. Lua 5.1 computes how many results there are in a C `int`; of a range that does not fit, it
/// pushes more than it made room for.
unsafe extern "C-unwind" fn unpack(l: *mut lua_State) -> c_int {
    // SAFETY: Lua called us; only the arguments are read before the original runs.
    unsafe {
        ffi::luaL_checktype(l, 1, LUA_TTABLE);
        // As the original reads them: cut to a C `int`.
        let from = ffi::luaL_optinteger(l, 2, 1) as c_int;
        let to = if ffi::lua_type(l, 3) <= ffi::LUA_TNIL {
            ffi::lua_objlen(l, 1) as c_int
        } else {
            ffi::luaL_checkinteger(l, 3) as c_int
        };
        if i64::from(to) - i64::from(from) >= MOST_RESULTS {
            raise(l, "too many results to unpack");
        }
        original(l)(l)
    }
}

/// No function of C's has more values than this (`LUAI_MAXCSTACK`).
const MOST_RESULTS: i64 = 8000;

/// `table.sort`: checks its arguments and lets the function that is its upvalue sort.
unsafe extern "C-unwind" fn sort(l: *mut lua_State) -> c_int {
    // SAFETY: Lua called us with an upvalue and room for twenty values more.
    unsafe {
        ffi::luaL_checktype(l, 1, LUA_TTABLE);
        if push_viewed(l, 1) {
            raise_plain(l, READ_ONLY);
        }
        if ffi::lua_type(l, 2) > ffi::LUA_TNIL {
            ffi::luaL_checktype(l, 2, ffi::LUA_TFUNCTION);
        }
        ffi::lua_settop(l, 2);
        ffi::lua_pushvalue(l, lua_upvalueindex(1));
        ffi::lua_insert(l, 1);
        ffi::lua_call(l, 2, 0);
        0
    }
}

/// Makes `table.sort` from a function that sorts a list with a comparator or nil.
///
/// # Errors
/// No memory.
pub fn sorting(lua: &Lua, function: Function) -> mlua::Result<Function> {
    // SAFETY: the function is on the stack; it becomes the upvalue that `sort` asks for.
    unsafe { lua.exec_raw(function, |l| ffi::lua_pushcclosure(l, sort, 1)) }
}

/// Lua's own function, which sees the table behind a read-only view.
unsafe extern "C-unwind" fn viewing(l: *mut lua_State) -> c_int {
    // SAFETY: as in `guarded`; the table takes the place of the first argument.
    unsafe {
        if push_viewed(l, 1) {
            ffi::lua_replace(l, 1);
        }
        original(l)(l)
    }
}

/// `pairs` whose `next` (the upvalue) sees behind read-only views.
unsafe extern "C-unwind" fn pairs(l: *mut lua_State) -> c_int {
    // SAFETY: Lua called us with an upvalue and room for three values.
    unsafe {
        ffi::luaL_checktype(l, 1, LUA_TTABLE);
        ffi::lua_pushvalue(l, lua_upvalueindex(1));
        ffi::lua_pushvalue(l, 1);
        ffi::lua_pushnil(l);
        3
    }
}

/// Lua's own function that catches errors, except that of a script which has to end.
unsafe extern "C-unwind" fn catching(l: *mut lua_State) -> c_int {
    // SAFETY: as in `guarded`.
    unsafe {
        if let Some(text) = limits::stopped() {
            raise(l, text);
        }
        let results = original(l)(l);
        if let Some(text) = limits::stopped() {
            raise(l, text);
        }
        results
    }
}

/// `pcall`, as [`catching`]; of an error table that commands raise it gives the text alone, as Redis
/// does.
unsafe extern "C-unwind" fn protected_call(l: *mut lua_State) -> c_int {
    // SAFETY: Lua called us; the function to call and its arguments are the whole stack.
    unsafe {
        if let Some(text) = limits::stopped() {
            raise(l, text);
        }
        ffi::luaL_checkany(l, 1);
        let status = ffi::lua_pcall(l, ffi::lua_gettop(l) - 1, LUA_MULTRET, 0);
        if let Some(text) = limits::stopped() {
            raise(l, text);
        }
        if ffi::lua_checkstack(l, 3) == 0 {
            raise(l, "stack overflow");
        }
        if status != 0 && ffi::lua_type(l, -1) == LUA_TTABLE {
            ffi::lua_pushlstring_(l, c"err".as_ptr(), 3);
            ffi::lua_rawget_(l, -2);
            if ffi::lua_type(l, -1) == LUA_TSTRING {
                ffi::lua_replace(l, -2);
            } else {
                ffi::lua_settop(l, -2);
            }
        }
        ffi::lua_pushboolean(l, c_int::from(status == 0));
        ffi::lua_insert(l, 1);
        ffi::lua_gettop(l)
    }
}

/// A handler of `xpcall`'s (the upvalue), which is not asked about a script that has to end: the
/// count hook sleeps while the handler of its own error runs, so that one could run for ever.
unsafe extern "C-unwind" fn handle(l: *mut lua_State) -> c_int {
    // SAFETY: Lua called us with the error and an upvalue.
    unsafe {
        if limits::stopped().is_none() {
            ffi::lua_settop(l, 1);
            ffi::lua_pushvalue(l, lua_upvalueindex(1));
            ffi::lua_insert(l, 1);
            ffi::lua_call(l, 1, 1);
        }
        1
    }
}

/// `xpcall`, as [`catching`].
unsafe extern "C-unwind" fn handled_call(l: *mut lua_State) -> c_int {
    // SAFETY: Lua called us with a function and a handler.
    unsafe {
        if let Some(text) = limits::stopped() {
            raise(l, text);
        }
        ffi::luaL_checkany(l, 2);
        ffi::lua_settop(l, 2);
        ffi::lua_pushcclosure(l, handle, 1);
        ffi::lua_insert(l, 1);
        let status = ffi::lua_pcall(l, 0, LUA_MULTRET, 1);
        if let Some(text) = limits::stopped() {
            raise(l, text);
        }
        if ffi::lua_checkstack(l, 2) == 0 {
            raise(l, "stack overflow");
        }
        ffi::lua_pushboolean(l, c_int::from(status == 0));
        ffi::lua_replace(l, 1);
        ffi::lua_gettop(l)
    }
}

/// `pcall` and `xpcall`.
///
/// # Errors
/// No memory.
pub fn protected_calls(lua: &Lua) -> mlua::Result<(Function, Function)> {
    // SAFETY: the functions need no upvalue.
    unsafe { Ok((lua.create_c_function(protected_call)?, lua.create_c_function(handled_call)?)) }
}

/// How [`wrap`] treats a function of Lua's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrap {
    /// It must not write to read-only views.
    Guarded,
    /// As [`Wrap::Guarded`], and it is `table.insert`.
    Insert,
    /// It sees behind read-only views.
    Viewing,
    /// It catches errors.
    Catching,
    /// It is `unpack`.
    Unpack,
}

/// Wraps one of Lua's own functions.
///
/// # Errors
/// No memory, or it is not one of Lua's own.
pub fn wrap(lua: &Lua, function: Function, how: Wrap) -> mlua::Result<Function> {
    // SAFETY: the function is on the stack; a pointer to it becomes the upvalue of the closure.
    unsafe {
        lua.exec_raw(function, |l| {
            let Some(original) = ffi::lua_tocfunction(l, -1) else {
                raise(l, "only a function of C's can be wrapped");
            };
            ffi::lua_pushlightuserdata(l, original as *mut c_void);
            let wrapper: lua_CFunction = match how {
                Wrap::Guarded => guarded,
                Wrap::Insert => insert,
                Wrap::Viewing => viewing,
                Wrap::Catching => catching,
                Wrap::Unpack => unpack,
            };
            ffi::lua_pushcclosure(l, wrapper, 1);
            ffi::lua_remove(l, -2);
        })
    }
}

/// `pairs` over `next`.
///
/// # Errors
/// No memory.
pub fn pairs_with(lua: &Lua, next: Function) -> mlua::Result<Function> {
    // SAFETY: the function is on the stack; it becomes the upvalue that `pairs` asks for.
    unsafe { lua.exec_raw(next, |l| ffi::lua_pushcclosure(l, pairs, 1)) }
}

/// Redis's words.
const READ_ONLY: &str = "Attempt to modify a readonly table";

unsafe extern "C-unwind" fn read_only(l: *mut lua_State) -> c_int {
    // SAFETY: Lua called us.
    unsafe { raise(l, READ_ONLY) }
}

/// What `__newindex` of a read-only view does.
///
/// # Errors
/// No memory.
pub fn refuse_writes(lua: &Lua) -> mlua::Result<Function> {
    // SAFETY: the function needs no upvalue.
    unsafe { lua.create_c_function(read_only) }
}

/// `__index` of the globals: nothing there has such a name.
unsafe extern "C-unwind" fn no_global(l: *mut lua_State) -> c_int {
    // SAFETY: Lua called us with the table and the key; the text is copied by Lua.
    unsafe {
        ffi::luaL_where(l, 1);
        ffi::lua_pushlstring_(l, NO_GLOBAL.as_ptr().cast(), NO_GLOBAL.len());
        if ffi::lua_isstring(l, 2) != 0 {
            ffi::lua_pushvalue(l, 2);
        } else {
            let name = ffi::lua_typename(l, ffi::lua_type(l, 2));
            ffi::lua_pushstring_(l, name);
        }
        ffi::lua_pushlstring_(l, c"'".as_ptr(), 1);
        ffi::lua_concat(l, 4);
        ffi::lua_error(l)
    }
}

const NO_GLOBAL: &str = "Script attempted to access nonexistent global variable '";

/// What `__index` of the globals does.
///
/// # Errors
/// No memory.
pub fn refuse_unknown(lua: &Lua) -> mlua::Result<Function> {
    // SAFETY: the function needs no upvalue.
    unsafe { lua.create_c_function(no_global) }
}

/// Instructions between two looks at the clock.
const COUNT: c_int = 500;
/// The same, once instructions turn out to be slow (they copy long strings, say).
const COUNT_SLOW: c_int = 5;

unsafe extern "C-unwind" fn on_count(l: *mut lua_State, _: *mut lua_Debug) {
    if let Some(text) = limits::check() {
        // SAFETY: Lua called us; a hook may raise.
        unsafe { raise(l, text) }
    }
    if limits::is_slow() {
        // SAFETY: a hook may set another one.
        unsafe { ffi::lua_sethook(l, Some(on_count), ffi::LUA_MASKCOUNT, COUNT_SLOW) };
    }
}

/// Raises what error there is for `redis.call`, as a table with `err`.
unsafe fn push_error(l: *mut lua_State, text: &[u8]) {
    // SAFETY: the caller has room for three values.
    unsafe {
        ffi::lua_createtable(l, 0, 1);
        ffi::lua_pushlstring_(l, c"err".as_ptr(), 3);
        ffi::lua_pushlstring_(l, text.as_ptr().cast(), text.len());
        ffi::lua_rawset(l, -3);
    }
}

/// Runs the command that the arguments are, its reply in the scratch; false if they are none.
unsafe fn command(l: *mut lua_State) -> bool {
    // SAFETY: only reads of arguments that are there, none of which makes Lua allocate or raise:
    // numbers are not turned into strings in place. The slices live as long as the arguments.
    unsafe {
        let Scratch { reply, numbers, .. } = scratch();
        reply.clear();
        numbers.clear();
        let count = ffi::lua_gettop(l);
        let mut ends: SmallVec<[usize; 8]> = SmallVec::new();
        for index in 1..=count {
            match ffi::lua_type(l, index) {
                LUA_TSTRING => {}
                LUA_TNUMBER => {
                    reply::put_number(numbers, ffi::lua_tonumber(l, index));
                    ends.push(numbers.len());
                }
                _ => {
                    reply.extend_from_slice(
                        b"-ERR Command arguments must be strings or integers\r\n",
                    );
                    return false;
                }
            }
        }
        let mut args: SmallVec<[&[u8]; 8]> = SmallVec::with_capacity(count as usize);
        let (mut start, mut ends) = (0, ends.into_iter());
        for index in 1..=count {
            if ffi::lua_type(l, index) == LUA_TNUMBER {
                let end = ends.next().unwrap_or(start);
                args.push(&numbers[start..end]);
                start = end;
            } else {
                let mut len = 0;
                let bytes = ffi::lua_tolstring(l, index, &mut len);
                args.push(std::slice::from_raw_parts(bytes.cast(), len));
            }
        }
        current::command(&args, reply);
        true
    }
}

/// `redis.call`, and with a true upvalue `redis.pcall`.
unsafe extern "C-unwind" fn redis_call(l: *mut lua_State) -> c_int {
    // SAFETY: Lua called us, with an upvalue and room for twenty values more; the reply stays in
    // the scratch while it is pushed, because no command runs meanwhile.
    unsafe {
        if let Some(text) = limits::stopped() {
            raise(l, text);
        }
        let protects = ffi::lua_toboolean(l, lua_upvalueindex(1)) != 0;
        command(l);
        // The arguments may have filled the stack.
        ffi::lua_settop(l, 0);
        let reply = &scratch().reply[..];
        if let [b'-', text @ ..] = reply {
            push_error(l, reply::line(text));
            if protects { 1 } else { ffi::lua_error(l) }
        } else {
            let mut at = 0;
            push_reply(l, reply, &mut at, 0);
            1
        }
    }
}

/// Pushes the reply at `at`; what is nested too deep is nil.
unsafe fn push_reply(l: *mut lua_State, bytes: &[u8], at: &mut usize, depth: u8) {
    // SAFETY: room is asked for on every level; all else is pushing and raw sets of what is there.
    unsafe {
        if depth > 32 || ffi::lua_checkstack(l, 6) == 0 {
            ffi::lua_pushnil(l);
            return;
        }
        let text = |text: &[u8]| ffi::lua_pushlstring_(l, text.as_ptr().cast(), text.len());
        // A table with one field, whose value is pushed by what comes next.
        let field = |name: &CStr| {
            ffi::lua_createtable(l, 0, 1);
            ffi::lua_pushlstring_(l, name.as_ptr(), name.to_bytes().len());
        };
        match reply::item(bytes, at) {
            Item::Integer(n) => ffi::lua_pushnumber(l, n as f64),
            Item::Bulk(bytes) => text(bytes),
            Item::Status(line) => {
                field(c"ok");
                text(line);
                ffi::lua_rawset(l, -3);
            }
            Item::Error(line) => push_error(l, line),
            Item::False => ffi::lua_pushboolean(l, 0),
            Item::True => ffi::lua_pushboolean(l, 1),
            Item::Nil => ffi::lua_pushnil(l),
            Item::Double(n) => {
                field(c"double");
                ffi::lua_pushnumber(l, n);
                ffi::lua_rawset(l, -3);
            }
            Item::BigNumber(line) => {
                field(c"big_number");
                text(line);
                ffi::lua_rawset(l, -3);
            }
            Item::Verbatim(format, body) => {
                field(c"verbatim_string");
                ffi::lua_createtable(l, 0, 2);
                text(b"string");
                text(body);
                ffi::lua_rawset(l, -3);
                text(b"format");
                text(format);
                ffi::lua_rawset(l, -3);
                ffi::lua_rawset(l, -3);
            }
            Item::Array(count) => {
                ffi::lua_createtable(l, c_int::try_from(count).unwrap_or(0), 0);
                for index in 1..=count {
                    push_reply(l, bytes, at, depth + 1);
                    ffi::lua_rawseti_(l, -2, index as c_int);
                }
            }
            Item::Map(count) => {
                field(c"map");
                ffi::lua_createtable(l, 0, c_int::try_from(count).unwrap_or(0));
                for _ in 0..count {
                    push_reply(l, bytes, at, depth + 1);
                    push_reply(l, bytes, at, depth + 1);
                    set_unless_nil(l);
                }
                ffi::lua_rawset(l, -3);
            }
            Item::Set(count) => {
                field(c"set");
                ffi::lua_createtable(l, 0, c_int::try_from(count).unwrap_or(0));
                for _ in 0..count {
                    push_reply(l, bytes, at, depth + 1);
                    ffi::lua_pushboolean(l, 1);
                    set_unless_nil(l);
                }
                ffi::lua_rawset(l, -3);
            }
        }
    }
}

/// Sets the pair on top of the stack in the table below it; a key that is nil cannot be one.
unsafe fn set_unless_nil(l: *mut lua_State) {
    // SAFETY: the caller pushed a table, a key and a value.
    unsafe {
        if ffi::lua_type(l, -2) == ffi::LUA_TNIL {
            ffi::lua_settop(l, -3);
        } else {
            ffi::lua_rawset(l, -3);
        }
    }
}

/// `redis.call`, or `redis.pcall` if it `protects`.
///
/// # Errors
/// No memory.
pub fn redis_call_function(lua: &Lua, protects: bool) -> mlua::Result<Function> {
    // SAFETY: the boolean on the stack becomes the upvalue that `redis_call` asks for.
    unsafe { lua.exec_raw(protects, |l| ffi::lua_pushcclosure(l, redis_call, 1)) }
}

/// What [`note_place`] looks behind: C, and what our libraries have in Lua.
const OUR_CHUNKS: [&[u8]; 5] =
    [b"=[C]", b"=table.sort", b"=string.gmatch", b"=string.gsub", b"=load"];

/// Notes where an error was raised; gives the error itself.
unsafe extern "C-unwind" fn note_place(l: *mut lua_State) -> c_int {
    // SAFETY: `ar` is filled by Lua before it is read, and its source is a string of C's that lives
    // as long as the function that runs.
    unsafe {
        let scratch = scratch();
        scratch.source.clear();
        scratch.line = 0;
        let mut ar: lua_Debug = std::mem::zeroed();
        // Level 0 is this function. A function of C's has no lines, and the lines of our own say
        // nothing to anybody: their callers may.
        for level in 1..=6 {
            if ffi::lua_getstack(l, level, &mut ar) == 0 {
                break;
            }
            ffi::lua_getinfo(l, c"Sl".as_ptr(), &mut ar);
            let is_ours = |source: &[u8]| OUR_CHUNKS.contains(&source);
            if !ar.source.is_null() && !is_ours(CStr::from_ptr(ar.source).to_bytes()) {
                scratch.source.extend_from_slice(CStr::from_ptr(ar.source).to_bytes());
                scratch.line = ar.currentline;
                break;
            }
        }
        ffi::lua_settop(l, 1);
        1
    }
}

/// What became of a script.
pub struct Called {
    /// Its result, or what it raised.
    pub value: Value,
    /// Whether it raised that.
    pub raised: bool,
    /// Where, as `@user_script` and a line; nothing if that is not known.
    pub place: Option<(String, i32)>,
}

unsafe fn push_list(l: *mut lua_State, name: &CStr, list: &[&[u8]]) {
    // SAFETY: the caller has the table of globals on top of the stack, and room for three values.
    unsafe {
        ffi::lua_pushlstring_(l, name.as_ptr(), name.to_bytes().len());
        ffi::lua_createtable(l, c_int::try_from(list.len()).unwrap_or(0), 0);
        for (index, bytes) in (1..).zip(list) {
            ffi::lua_pushlstring_(l, bytes.as_ptr().cast::<c_char>(), bytes.len());
            ffi::lua_rawseti_(l, -2, index);
        }
        ffi::lua_rawset(l, -3);
    }
}

/// Runs a compiled script, with `KEYS` and `ARGV` in the table of globals, under the count hook.
///
/// # Errors
/// No memory for the arguments.
pub fn call(
    lua: &Lua,
    function: &Function,
    globals: &Table,
    keys: &[&[u8]],
    args: &[&[u8]],
) -> mlua::Result<Called> {
    // SAFETY: the closure holds only references and numbers. The stack has the function, then the
    // globals, and in the end a boolean and a value.
    let (raised, value): (bool, Value) = unsafe {
        lua.exec_raw((function, globals), |l| {
            push_list(l, c"KEYS", keys);
            push_list(l, c"ARGV", args);
            ffi::lua_settop(l, -2);
            ffi::lua_pushcclosure(l, note_place, 0);
            ffi::lua_insert(l, -2);
            let handler = ffi::lua_gettop(l) - 1;
            ffi::lua_sethook(l, Some(on_count), ffi::LUA_MASKCOUNT, COUNT);
            let status = ffi::lua_pcall(l, 0, 1, handler);
            ffi::lua_sethook(l, None, 0, 0);
            ffi::lua_remove(l, handler);
            ffi::lua_pushboolean(l, c_int::from(status != 0));
            ffi::lua_insert(l, -2);
        })?
    };
    let mut place = None;
    if raised {
        // SAFETY: nothing else holds a reference to the scratch now.
        let scratch = unsafe { scratch() };
        if !scratch.source.is_empty() {
            let source = String::from_utf8_lossy(&scratch.source).into_owned();
            place = Some((source, scratch.line));
        }
        scratch.source.clear();
    }
    Ok(Called { value, raised, place })
}

/// Gives back what the last command's reply took, if it was long.
pub fn shrink() {
    // SAFETY: nothing else holds a reference to the scratch between two scripts.
    let scratch = unsafe { scratch() };
    if scratch.reply.capacity() > 64 << 10 {
        scratch.reply = Vec::new();
    }
    if scratch.numbers.capacity() > 64 << 10 {
        scratch.numbers = Vec::new();
    }
}
