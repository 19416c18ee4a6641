//! Files with as much structure as the archive reads.

/// A PNG of 8 × 4 pixels with this many bytes of data, which begin with `mark`: so two files with
/// different marks differ.
pub fn png(mark: u64, data_bytes: usize) -> Vec<u8> {
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut data = mark.to_be_bytes().to_vec();
    data.resize(data_bytes.max(8), 7);
    for (name, data) in [
        (b"IHDR", &b"\0\0\0\x08\0\0\0\x04\x08\x02\0\0\0"[..]),
        (b"IDAT", &data),
        (b"IEND", b""),
    ] {
        file.extend(u32::try_from(data.len()).unwrap().to_be_bytes());
        file.extend(name);
        file.extend(data);
        file.extend(b"crc.");
    }
    file
}
