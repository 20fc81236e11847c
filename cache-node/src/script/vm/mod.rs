//! One interpreter, made once for a thread and kept warm.
//!
//! Scripts see the globals, and the libraries in them, through read-only views: a table with nothing
//! in it whose metatable leads to the real one. So nothing that a script does is there for the next.

pub mod answer;
pub mod callback;
pub mod raw;
mod reply;

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use mlua::chunk::ChunkMode;
use mlua::{Function, Lua, LuaOptions, StdLib, Table, Value};

use super::cache::{Script, Sha};
use super::lib::{self, PerRun};

/// Under this name the registry has the table that scripts see as their globals.
pub const ENVIRONMENT: &str = "hypercache.environment";

/// More compiled scripts than this are not kept.
const MAX_FUNCTIONS: usize = 500;
/// Nor texts of more bytes than this altogether.
const MAX_FUNCTION_BYTES: usize = 8 << 20;
/// What is left behind may take this much before it is collected at once rather than bit by bit.
const GARBAGE_BYTES: usize = 4 << 20;

/// An interpreter.
pub struct Vm {
    lua: Lua,
    globals: Table,
    environment: Table,
    per_run: Rc<PerRun>,
    functions: HashMap<Sha, Compiled>,
    function_bytes: usize,
    /// What it takes with nothing in it but the libraries.
    bare_bytes: usize,
    memory_bytes: usize,
}

/// A script that this interpreter has compiled.
struct Compiled {
    script: Arc<Script>,
    function: Function,
}

/// A read-only view of a table.
fn view(lua: &Lua, of: &Table, refuse: &Function, shown: Value) -> mlua::Result<Table> {
    let metatable = lua.create_table()?;
    metatable.raw_set(1, Value::LightUserData(raw::view_mark()))?;
    metatable.raw_set(2, of)?;
    metatable.raw_set("__index", of)?;
    metatable.raw_set("__newindex", refuse)?;
    metatable.raw_set("__metatable", shown)?;
    let view = lua.create_table()?;
    view.set_metatable(Some(metatable))?;
    Ok(view)
}

impl Vm {
    /// Makes an interpreter whose scripts may take so much memory each.
    ///
    /// # Errors
    /// No memory.
    pub fn new(memory_bytes: usize) -> mlua::Result<Self> {
        let libs = StdLib::TABLE | StdLib::STRING | StdLib::MATH;
        let lua = Lua::new_with(libs, LuaOptions::new().catch_rust_panics(true))?;
        let refuse = raw::refuse_writes(&lua)?;
        let nothing = lua.create_table()?;
        let closed = view(&lua, &nothing, &refuse, Value::Boolean(false))?;

        let globals = lua.create_table()?;
        let environment = view(&lua, &globals, &refuse, Value::Table(closed.clone()))?;
        lua.set_named_registry_value(ENVIRONMENT, &environment)?;
        for name in ["string", "table", "math"] {
            globals.raw_set(name, lua.globals().raw_get::<Table>(name)?)?;
        }
        let per_run = Rc::new(PerRun::default());
        lib::install(&lua, &globals, memory_bytes, &per_run)?;

        let names: Vec<String> = globals
            .pairs::<String, Value>()
            .filter_map(|pair| pair.ok().filter(|(_, value)| value.is_table()))
            .map(|(name, _)| name)
            .collect();
        for name in names {
            let library: Table = globals.raw_get(name.as_str())?;
            globals.raw_set(name, view(&lua, &library, &refuse, Value::Boolean(false))?)?;
        }
        globals.raw_set("_G", &environment)?;
        let unknown = lua.create_table()?;
        unknown.raw_set("__index", raw::refuse_unknown(&lua)?)?;
        globals.set_metatable(Some(unknown))?;

        // Strings share a metatable, which must not be a way to the table of their functions.
        let strings = lua.create_table()?;
        let string_view: Table = globals.raw_get("string")?;
        strings.raw_set("__index", string_view)?;
        strings.raw_set("__metatable", closed)?;
        lua.set_type_metatable::<mlua::LuaString>(Some(strings));

        lua.gc_collect()?;
        let bare_bytes = lua.used_memory();
        Ok(Self {
            lua,
            globals,
            environment,
            per_run,
            functions: HashMap::new(),
            function_bytes: 0,
            bare_bytes,
            memory_bytes,
        })
    }

    /// The script of that digest, if it is compiled here and still known.
    pub fn known(&mut self, sha: &Sha) -> Option<Arc<Script>> {
        let compiled = self.functions.get(sha)?;
        if compiled.script.is_known() {
            return Some(compiled.script.clone());
        }
        if let Some(gone) = self.functions.remove(sha) {
            self.function_bytes -= gone.script.text.len();
        }
        None
    }

    /// What its scripts may take each.
    pub fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// Compiles a script, if it is not yet.
    ///
    /// # Errors
    /// Redis's words for what is wrong with it.
    pub fn compile(&mut self, script: &Arc<Script>) -> Result<(), String> {
        if self.functions.contains_key(&script.sha) {
            return Ok(());
        }
        let bytes = script.text.len();
        if self.functions.len() >= MAX_FUNCTIONS || self.function_bytes + bytes > MAX_FUNCTION_BYTES
        {
            self.functions.clear();
            self.function_bytes = 0;
            let _ = self.lua.gc_collect();
        }
        let function = self.compiled(&script.text[script.header.len..])?;
        self.function_bytes += bytes;
        self.functions.insert(script.sha, Compiled { script: script.clone(), function });
        Ok(())
    }

    /// Compiles a text.
    fn compiled(&self, text: &[u8]) -> Result<Function, String> {
        let wrong = |why: &str| {
            format!("ERR Error compiling script (new function): {}", why.replace(['\r', '\n'], " "))
        };
        if text.first() == Some(&0x1b) {
            return Err(wrong("user_script: bad binary format (compiled code is refused)"));
        }
        let _ = self.lua.set_memory_limit(self.lua.used_memory() + self.memory_bytes);
        let chunk = self.lua.load(text).set_name("@user_script").set_mode(ChunkMode::Text);
        let compiled = chunk.set_environment(self.environment.clone()).into_function();
        let _ = self.lua.set_memory_limit(0);
        compiled.map_err(|error| wrong(&lib::syntax_error(&error)))
    }

    /// Whether a text can be compiled.
    ///
    /// # Errors
    /// Redis's words for what is wrong with it.
    pub fn check(&self, text: &[u8]) -> Result<(), String> {
        self.compiled(text).map(drop)
    }

    /// Runs a script that is compiled.
    ///
    /// # Errors
    /// Redis's error, ready to send, why it did not begin.
    pub fn run(
        &mut self,
        script: &Script,
        keys: &[&[u8]],
        args: &[&[u8]],
    ) -> Result<raw::Called, String> {
        let Some(Compiled { function, .. }) = self.functions.get(&script.sha) else {
            return Err("ERR the script is not compiled".into());
        };
        self.per_run.dice.start();
        self.per_run.cjson.reset();
        let _ = self.lua.set_memory_limit(self.lua.used_memory() + self.memory_bytes);
        let called = raw::call(&self.lua, function, &self.globals, keys, args);
        let _ = self.lua.set_memory_limit(0);
        called.map_err(|error| {
            let text = error.to_string().replace(['\r', '\n'], " ");
            format!("ERR Error running script {}, {text}", script.hex())
        })
    }

    /// Lets go of what the last script left behind.
    pub fn settle(&mut self) {
        raw::shrink();
        let kept = self.bare_bytes + self.function_bytes * 8;
        if self.lua.used_memory() > kept + GARBAGE_BYTES {
            let _ = self.globals.raw_set("KEYS", Value::Nil);
            let _ = self.globals.raw_set("ARGV", Value::Nil);
            let _ = self.lua.gc_collect();
        }
    }
}
