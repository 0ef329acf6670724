//! Which of the lines written to a child were never read by it: what lies in its pipe once nobody
//! can read there any more surely did not run.

use std::collections::VecDeque;
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Bytes of lines that are remembered: more than any pipe holds.
const REMEMBERED: usize = 2 << 20;

/// The lines that were written last.
#[derive(Debug, Default)]
pub(super) struct Written {
    lines: VecDeque<Line>,
    bytes: usize,
}

#[derive(Debug)]
struct Line {
    /// The request this is, if it is one.
    id: Option<u64>,
    len: usize,
    /// How much of it the pipe took.
    taken: usize,
}

impl Written {
    /// A line of `len` bytes, its end included, is about to be written.
    pub(super) fn begin(&mut self, id: Option<u64>, len: usize) {
        self.lines.push_back(Line { id, len, taken: 0 });
        while self.lines.len() > 1
            && self.lines.front().is_some_and(|first| self.bytes - first.taken >= REMEMBERED)
        {
            let first = self.lines.pop_front();
            self.bytes -= first.map_or(0, |line| line.taken);
        }
    }

    /// The pipe took so many bytes of the last line.
    pub(super) fn took(&mut self, count: usize) {
        if let Some(last) = self.lines.back_mut() {
            last.taken += count;
            self.bytes += count;
        }
    }

    /// The last line is not written any further, and nobody waits for it.
    pub(super) fn give_up(&mut self) {
        if let Some(last) = self.lines.back_mut() {
            last.id = None;
        }
    }

    /// The requests of which the child can't have read the whole: of these nobody can have read
    /// more than all but the last `left` bytes that were written.
    pub(super) fn unread(&self, left: usize) -> Vec<u64> {
        let mut left = left;
        let mut found = Vec::new();
        for line in self.lines.iter().rev() {
            // The last byte is the line's end, without which JSON is whole already.
            let read = line.taken.saturating_sub(left);
            if read + 2 > line.len {
                break;
            }
            left = left.saturating_sub(line.taken);
            found.extend(line.id);
        }
        found
    }
}

/// Bytes that lie in a pipe whose other end nobody has open any more; none where somebody may yet
/// read, or where the system does not tell.
pub(super) fn left_in(pipe: &impl AsFd) -> Option<usize> {
    let mut fds = [PollFd::new(pipe, PollFlags::empty())];
    poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).ok()?;
    if !fds[0].revents().contains(PollFlags::ERR) {
        return None;
    }
    rustix::io::ioctl_fionread(pipe).ok().and_then(|left| usize::try_from(left).ok())
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    #[test]
    fn a_line_of_which_more_than_its_end_was_left_was_not_read() {
        let mut written = Written::default();
        for (id, len) in [(Some(1), 10), (None, 10), (Some(3), 10)] {
            written.begin(id, len);
            written.took(len);
        }

        assert!(written.unread(0).is_empty());
        assert!(written.unread(1).is_empty());
        assert_eq!(written.unread(2), [3]);
        assert_eq!(written.unread(21), [3]);
        assert_eq!(written.unread(22), [3, 1]);
        assert_eq!(written.unread(1000), [3, 1]);
        written.begin(Some(4), 10);
        written.took(8);
        assert_eq!(written.unread(0), [4], "it never was written to its end");
        written.took(1);
        assert!(written.unread(0).is_empty(), "but for the line's end it was");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut written = Written::default();
        for id in 0..1000 {
            written.begin(Some(id), 100_000);
            written.took(100_000);
        }

        assert!(written.lines.len() <= REMEMBERED / 100_000 + 2);
    }

    #[test]
    fn what_lies_in_a_pipe_counts_once_nobody_can_read_it() {
        let (mut reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(b"twelve bytes").unwrap();
        reader.read_exact(&mut [0; 4]).unwrap();

        assert_eq!(left_in(&writer), None);
        drop(reader);
        assert_eq!(left_in(&writer), Some(8));
    }
}
