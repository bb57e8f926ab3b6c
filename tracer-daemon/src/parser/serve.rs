//! The parser: it answers until there is nobody to ask.

use std::{
    collections::HashMap,
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
    rc::Rc,
};

use serde::Serialize;
use tracer_common::UserRegisters;

use super::{
    board::Chalk,
    channel::Channel,
    confine::confine,
    message::{Addresses, BuildId, FileId, LONGEST_NAME, MOST_NAMES, Names, Request, Stack},
};
use crate::{
    symbolize::{ElfNames, build_id},
    unwind::{Image, Library, StackCopy, Vdso},
};

/// Serves on stdin. Without an error: the session has ended.
pub(crate) fn serve() -> io::Result<()> {
    // Its own copy of the kernel's library, which it will not be permitted to read.
    let vdso = Vdso::read();
    let confined = confine();
    let mut channel = Channel::new(io::stdin().as_fd().try_clone_to_owned()?.into());
    let Some((_, Some(board))) = channel.request()? else { return Ok(()) };
    channel.send(&confined, None, None)?;
    if confined.is_err() {
        return Ok(());
    }
    let mut parser = Parser::new(vdso, Chalk::new(&board)?);
    while let Some((bytes, file)) = channel.request()? {
        let request = postcard::from_bytes(&bytes).map_err(io::Error::other)?;
        parser.answer(&mut channel, request, file)?;
    }
    Ok(())
}

struct Parser {
    files: HashMap<FileId, File>,
    images: HashMap<u32, Image>,
    library: Library,
    names: ElfNames,
    chalk: Rc<Chalk>,
}

impl Parser {
    fn new(vdso: Vdso, chalk: Chalk) -> Self {
        let chalk = Rc::new(chalk);
        let shown = Rc::clone(&chalk);
        Self {
            files: HashMap::new(),
            images: HashMap::new(),
            library: Library::new(vdso, move |file| shown.write(file)),
            names: ElfNames::default(),
            chalk,
        }
    }

    fn answer(
        &mut self,
        channel: &mut Channel,
        request: Request<'_>,
        file: Option<OwnedFd>,
    ) -> io::Result<()> {
        match request {
            Request::Keep(id) => {
                let build_id = file.and_then(|file| self.keep(id, file.into()));
                self.send(channel, &build_id)
            }
            Request::Image(number, mappings) => {
                self.images.insert(number, Image::new(mappings));
                self.send(channel, &())
            }
            Request::Unwind(stacks) => {
                let all: Vec<_> = stacks.into_iter().map(|stack| self.unwind(stack)).collect();
                self.send(channel, &all)
            }
            Request::Name(places) => {
                let all: Vec<_> = places.into_iter().map(|(id, at)| self.name(id, at)).collect();
                self.send(channel, &all)
            }
        }
    }

    /// What is done is not to blame for what comes next.
    fn send(&self, channel: &mut Channel, answer: &impl Serialize) -> io::Result<()> {
        self.chalk.clear();
        channel.send(answer, None, None)
    }

    fn keep(&mut self, id: FileId, file: File) -> BuildId {
        self.chalk.write(id);
        self.library.add(id, &file);
        let build_id = build_id(&file);
        self.files.insert(id, file);
        build_id
    }

    fn unwind(&mut self, stack: Stack<'_>) -> Addresses {
        let registers: UserRegisters = zerocopy::transmute!(stack.registers);
        let copy = StackCopy { registers, bytes: stack.bytes.into() };
        let (frames, unmapped) = match self.images.get(&stack.image) {
            Some(image) => image.unwind(&copy, &mut self.library),
            None => (Vec::new(), false),
        };
        Addresses { frames, unmapped }
    }

    fn name(&mut self, id: FileId, offset: u64) -> Names {
        self.chalk.write(id);
        let names = self.files.get(&id).and_then(|file| self.names.names(id, file, offset));
        let mut names = names.unwrap_or_default();
        names.truncate(MOST_NAMES);
        for name in &mut names {
            [&mut name.symbol, &mut name.file].into_iter().flatten().for_each(cut);
        }
        names
    }
}

/// To what the session takes.
fn cut(text: &mut String) {
    if text.len() > LONGEST_NAME {
        let mut ends = (0..=LONGEST_NAME).rev();
        text.truncate(ends.find(|end| text.is_char_boundary(*end)).unwrap_or(0));
    }
}
