//! Messages over a socket: a length, then so many bytes; descriptors travel with the length.

use std::{
    io::{self, ErrorKind, IoSlice, IoSliceMut, Read},
    mem::MaybeUninit,
    os::{
        fd::{BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
    },
};
use serde::{Serialize, de::DeserializeOwned};

use super::message::MOST_BYTES;

const LENGTH: usize = size_of::<u32>();

/// The shortest time that a socket can be told to wait is not none.
const LEAST: Duration = Duration::from_millis(1);

/// One end. Each reads a message whole before it answers, so that neither waits for the other to read.
pub(super) struct Channel(UnixStream);

impl Channel {
    pub(super) fn new(socket: UnixStream) -> Self {
        Self(socket)
    }

    /// Sends a message, and a descriptor with it. Without a deadline it takes as long as it takes.
    pub(super) fn send(
        &mut self,
        message: &impl Serialize,
        file: Option<BorrowedFd<'_>>,
        deadline: Option<Instant>,
    ) -> io::Result<()> {
        let bytes = postcard::to_stdvec(message).map_err(nonsense)?;
        if bytes.len() > MOST_BYTES {
            return Err(nonsense("it is too long"));
        }
        let length = (bytes.len() as u32).to_le_bytes();
        let files = file.as_slice();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !files.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(files));
        }
        self.0.set_write_timeout(left(deadline)?)?;
        // The parser may have ended.
        let flags = SendFlags::NOSIGNAL;
        let sent = sendmsg(&self.0, &[IoSlice::new(&length)], &mut control, flags)?;
        let mut rest = [&length[sent..], &bytes].concat();
        let mut rest = rest.as_mut_slice();
        while !rest.is_empty() {
            self.0.set_write_timeout(left(deadline)?)?;
            let sent = rustix::net::send(&self.0, rest, flags)?;
            rest = &mut rest[sent..];
        }
        Ok(())
    }

    /// Waits so long for an answer; whether there is one, or its beginning, or there will be none.
    pub(super) fn has_answer(&self, patience: Duration) -> io::Result<bool> {
        let patience = Timespec::try_from(patience).map_err(nonsense)?;
        match poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&patience)) {
            Err(Errno::INTR) => Ok(false),
            ready => Ok(ready? > 0),
        }
    }

    /// Receives an answer. Descriptors that come with it are not taken.
    pub(super) fn answer<T: DeserializeOwned>(&mut self, deadline: Instant) -> io::Result<T> {
        let mut length = [0; LENGTH];
        self.fill(&mut length, deadline)?;
        let mut bytes = vec![0; checked(length)?];
        self.fill(&mut bytes, deadline)?;
        postcard::from_bytes(&bytes).map_err(nonsense)
    }

    /// Reads with one deadline for all of it, however small the pieces.
    fn fill(&mut self, mut bytes: &mut [u8], deadline: Instant) -> io::Result<()> {
        while !bytes.is_empty() {
            self.0.set_read_timeout(left(Some(deadline))?)?;
            match self.0.read(bytes) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => bytes = &mut bytes[count..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Waits for a request: its bytes, and the descriptor that came along. `None`: there will be no more.
    pub(super) fn request(&mut self) -> io::Result<Option<(Vec<u8>, Option<OwnedFd>)>> {
        let mut length = [0; LENGTH];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let read = loop {
            let buffers = &mut [IoSliceMut::new(&mut length)];
            match recvmsg(&self.0, buffers, &mut control, RecvFlags::CMSG_CLOEXEC) {
                Err(Errno::INTR) => {}
                read => break read?.bytes,
            }
        };
        if read == 0 {
            return Ok(None);
        }
        let file = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut files) => files.next(),
            _ => None,
        });
        self.0.read_exact(&mut length[read..])?;
        let mut bytes = vec![0; checked(length)?];
        self.0.read_exact(&mut bytes)?;
        Ok(Some((bytes, file)))
    }
}

fn checked(length: [u8; LENGTH]) -> io::Result<usize> {
    let length = u32::from_le_bytes(length) as usize;
    if length <= MOST_BYTES { Ok(length) } else { Err(nonsense("it is too long")) }
}

fn left(deadline: Option<Instant>) -> io::Result<Option<Duration>> {
    let Some(deadline) = deadline else { return Ok(None) };
    match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(ErrorKind::TimedOut.into()),
        left => Ok(Some(left.max(LEAST))),
    }
}

fn nonsense(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use std::{fs::File, io::Write, os::fd::AsFd, thread};

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[test]
    fn messages_and_files_go_there_and_answers_come_back() {
        let (session, parser) = UnixStream::pair().unwrap();
        let (mut session, mut parser) = (Channel::new(session), Channel::new(parser));
        let long = vec![7u8; 1 << 20];
        let serves = thread::spawn(move || {
            let mut lengths = Vec::new();
            while let Some((bytes, file)) = parser.request().unwrap() {
                let words: Vec<u8> = postcard::from_bytes(&bytes).unwrap();
                lengths.push((
                    words.len(),
                    file.map(|file| File::from(file).metadata().unwrap().len()),
                ));
                parser.send(&words.len(), None, None).unwrap();
            }
            lengths
        });
        let file = tempfile::tempfile().unwrap();
        file.set_len(5).unwrap();
        for (message, file) in [(&long[..1], None), (&long, Some(file.as_fd())), (&long[..0], None)]
        {
            session.send(&message, file, Some(soon())).unwrap();
            assert_eq!(session.answer::<usize>(soon()).unwrap(), message.len());
        }
        drop(session);
        assert_eq!(serves.join().unwrap(), [(1, None), (1 << 20, Some(5)), (0, None)]);
    }

    #[test]
    fn answers_that_make_no_sense_are_errors() {
        let length = |length: u32| length.to_le_bytes();
        let endless = [&length(11)[..], &[0xff; 11]].concat();
        let text = [&length(3)[..], &[2, 0xc3, 0x28]].concat();
        let kinds = [
            (&length(u32::MAX)[..], ErrorKind::InvalidData),
            (&length(MOST_BYTES as u32 + 1), ErrorKind::InvalidData),
            (&length(5), ErrorKind::UnexpectedEof),
            (&length(5)[..2], ErrorKind::UnexpectedEof),
            (&[], ErrorKind::UnexpectedEof),
            (&endless, ErrorKind::InvalidData),
            (&text, ErrorKind::InvalidData),
        ];
        for (bytes, kind) in kinds {
            let (session, mut parser) = UnixStream::pair().unwrap();
            parser.write_all(bytes).unwrap();
            drop(parser);
            let answer = Channel::new(session).answer::<String>(soon());
            assert_eq!(answer.unwrap_err().kind(), kind, "{bytes:x?}");
        }
    }

    #[test]
    fn nobody_waits_beyond_the_deadline() {
        let (session, _parser) = UnixStream::pair().unwrap();
        let mut session = Channel::new(session);
        let late =
            |error: io::Error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
        assert!(late(session.answer::<u8>(Instant::now()).unwrap_err()));
        assert!(late(session.answer::<u8>(Instant::now() + LEAST).unwrap_err()));
        // More than the socket takes while nobody reads.
        let deadline = Some(Instant::now() + LEAST);
        assert!(late(session.send(&vec![7u8; 3 << 20], None, deadline).unwrap_err()));
    }
}
