//! The result sounds: one second of a tone as a real WAV file. The same seed always produces the
//! same bytes.

/// Samples per second. Each is 16 bits, mono.
const RATE: u32 = 8000;

pub fn wav(seed: u32) -> Vec<u8> {
    let frequency = f64::from(220 + seed % 660);
    let data_bytes = RATE * 2;
    let mut bytes = Vec::with_capacity(44 + data_bytes as usize);
    bytes.extend(b"RIFF");
    bytes.extend((36 + data_bytes).to_le_bytes());
    bytes.extend(b"WAVEfmt ");
    bytes.extend(16_u32.to_le_bytes());
    // PCM, one channel.
    bytes.extend([1, 0, 1, 0]);
    bytes.extend(RATE.to_le_bytes());
    bytes.extend((RATE * 2).to_le_bytes());
    // Bytes and bits of one sample.
    bytes.extend([2, 0, 16, 0]);
    bytes.extend(b"data");
    bytes.extend(data_bytes.to_le_bytes());
    for sample in 0..RATE {
        let time = f64::from(sample) / f64::from(RATE);
        let level = (time * frequency * std::f64::consts::TAU).sin() * 8000.0;
        #[expect(clippy::cast_possible_truncation, reason = "it is within 8000")]
        bytes.extend((level as i16).to_le_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_lengths_are_those_of_the_file() {
        let bytes = wav(7);
        assert_eq!(bytes.len(), 44 + 16_000);
        assert_eq!(bytes[4..8], 16_036_u32.to_le_bytes());
        assert_eq!(bytes[40..44], 16_000_u32.to_le_bytes());
        assert_eq!(bytes, wav(7));
        assert_ne!(bytes, wav(8));
    }
}
