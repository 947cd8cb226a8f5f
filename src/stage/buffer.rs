//! Bytes on their way in: filled at the end by a socket, taken from the start by a decoder, reused for ever.

/// A receive buffer. It grows to what its messages need, up to its cap, and then stays.
#[derive(Debug)]
pub struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    max: usize,
}

impl Buffer {
    /// A buffer of `room` bytes that may grow to `max`.
    pub fn new(room: usize, max: usize) -> Self {
        Self { bytes: vec![0; room.min(max)], start: 0, end: 0, max }
    }

    /// What was received and not yet taken.
    #[inline]
    pub fn filled(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// The same, to be decoded in place.
    #[inline]
    pub fn filled_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.end]
    }

    /// Bytes received and not yet taken.
    #[inline]
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// True when nothing waits.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Takes `n` bytes from the start; no more than there are.
    #[inline]
    pub fn consume(&mut self, n: usize) {
        self.start += n.min(self.len());
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
    }

    /// Room for at least `wanted` bytes if the cap allows, possibly less, empty when the buffer is full at its cap.
    /// Moves what is filled to the front, or grows, only when it must.
    pub fn spare(&mut self, wanted: usize) -> &mut [u8] {
        if self.bytes.len() - self.end < wanted {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            let need = (self.end + wanted).min(self.max);
            if self.bytes.len() < need {
                self.bytes.resize(need.next_power_of_two().min(self.max), 0);
            }
        }
        &mut self.bytes[self.end..]
    }

    /// Says that `n` bytes of [`Self::spare`] were filled.
    #[inline]
    pub fn commit(&mut self, n: usize) {
        self.end = (self.end + n).min(self.bytes.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(buffer: &mut Buffer, bytes: &[u8]) -> usize {
        let spare = buffer.spare(bytes.len());
        let n = spare.len().min(bytes.len());
        spare[..n].copy_from_slice(&bytes[..n]);
        buffer.commit(n);
        n
    }

    #[test]
    fn bytes_come_out_in_the_order_in_which_they_came_in() {
        let mut buffer = Buffer::new(8, 64);
        let (mut sent, mut taken) = (Vec::<u8>::new(), Vec::<u8>::new());
        for i in 0..200_u8 {
            let chunk: Vec<u8> = (0..i % 7).map(|k| i.wrapping_add(k)).collect();
            assert_eq!(fill(&mut buffer, &chunk), chunk.len());
            sent.extend(&chunk);
            let n = buffer.len().min(usize::from(i % 5));
            taken.extend(&buffer.filled()[..n]);
            buffer.consume(n);
            if buffer.len() > 40 {
                taken.extend(buffer.filled());
                buffer.consume(buffer.len());
            }
        }
        taken.extend(buffer.filled());
        assert_eq!(taken, sent);
    }

    #[test]
    fn it_never_grows_past_its_cap() {
        let mut buffer = Buffer::new(4, 16);
        assert_eq!(fill(&mut buffer, &[1; 20]), 16);
        assert!(buffer.spare(1).is_empty());
        buffer.consume(3);
        assert_eq!(buffer.spare(3).len(), 3);
        buffer.consume(100);
        assert!(buffer.is_empty());
    }
}
