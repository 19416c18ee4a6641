//! Small files of each format for tests. They have only the structure that the inspector reads.

use super::Format;

pub(in crate::archive) fn png(width: u32, height: u32, data_bytes: usize) -> Vec<u8> {
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut chunk = |name: &[u8; 4], data: &[u8]| {
        file.extend(u32::try_from(data.len()).unwrap().to_be_bytes());
        file.extend(name);
        file.extend(data);
        file.extend(b"crc.");
    };
    let header = [
        &width.to_be_bytes()[..],
        &height.to_be_bytes(),
        b"\x08\x02\0\0\0",
    ]
    .concat();
    chunk(b"IHDR", &header);
    chunk(b"IDAT", &vec![7; data_bytes]);
    chunk(b"IEND", b"");
    file
}

fn jpeg() -> Vec<u8> {
    jpeg_with(&[])
}

/// A JPEG with `metadata` before its size. It has whole segments, or fill bytes.
pub(super) fn jpeg_with(metadata: &[u8]) -> Vec<u8> {
    let segment = |code: u8, data: &[u8]| {
        let length = u16::try_from(data.len() + 2).unwrap().to_be_bytes();
        [&[0xff, code][..], &length, data].concat()
    };
    [
        &b"\xff\xd8"[..],
        &segment(0xe0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0"),
        // A preview in the metadata has its own end marker.
        &segment(0xe1, b"Exif\0\0\xff\xd8\xff\xd9"),
        metadata,
        &segment(0xc0, b"\x08\0\x10\0\x20\x03\x01\x11\0\x02\x11\0\x03\x11\0"),
        &segment(0xda, b"\x03\x01\0\x02\0\x03\0\0\x3f\0"),
        b"data\xff\x00more\xff\xd0data",
        &segment(0xc4, b"table"),
        &segment(0xda, b"\x01\x01\0\x01\x3f\0"),
        b"second scan\xff\xff\xd9",
    ]
    .concat()
}

fn gif() -> Vec<u8> {
    b"GIF89a\x02\0\x03\0\x80\0\0\xff\xff\xff\0\0\0!\xf9\x04\x01\0\0\0\0,\0\0\0\0\x02\0\x03\0\x80abcdef\x02\x02D\x01\x03abc\0;".to_vec()
}

pub(super) fn riff(kind: [u8; 4], chunks: &[u8]) -> Vec<u8> {
    let length = u32::try_from(chunks.len() + 4).unwrap().to_le_bytes();
    [&b"RIFF"[..], &length, &kind, chunks].concat()
}

pub(super) fn webp() -> Vec<u8> {
    let mut file = Vec::new();
    image_webp::WebPEncoder::new(&mut file)
        .encode(&[9; 5 * 4 * 3], 5, 4, image_webp::ColorType::Rgb8)
        .unwrap();
    file
}

pub(super) fn wav() -> Vec<u8> {
    riff(
        *b"WAVE",
        b"fmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0data\x04\0\0\0abcd",
    )
}

pub(super) fn boxed(name: [u8; 4], content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len() + 8).unwrap().to_be_bytes();
    [&length[..], &name, content].concat()
}

fn avif() -> Vec<u8> {
    avif_with(&[], &[], &boxed(*b"mdat", &[1; 100]))
}

/// An AVIF with boxes before its metadata, in it, and after it.
pub(super) fn avif_with(before: &[u8], inside: &[u8], after: &[u8]) -> Vec<u8> {
    let size = boxed(*b"ispe", b"\0\0\0\0\0\0\0\x06\0\0\0\x07");
    let properties = boxed(*b"iprp", &boxed(*b"ipco", &size));
    let metadata = [b"\0\0\0\0", &properties[..], inside].concat();
    [
        &boxed(*b"ftyp", b"avif\0\0\0\0avifmif1miaf"),
        before,
        &boxed(*b"meta", &metadata),
        after,
    ]
    .concat()
}

pub(super) fn video(brand: [u8; 4], compatible: &[u8]) -> Vec<u8> {
    let large = [&b"\0\0\0\x01mdat"[..], &116_u64.to_be_bytes(), &[1; 100]].concat();
    [
        boxed(*b"ftyp", &[&brand[..], b"\0\0\0\0", compatible].concat()),
        boxed(*b"moov", &boxed(*b"mvhd", &[0; 20])),
        large,
    ]
    .concat()
}

fn webm() -> Vec<u8> {
    let head = b"\x42\x86\x81\x01\x42\x82\x84webm\x42\x87\x81\x02";
    let head_length = 0x80 | u8::try_from(head.len()).unwrap();
    [
        &b"\x1a\x45\xdf\xa3"[..],
        &[head_length],
        head,
        b"\x18\x53\x80\x67\x01\0\0\0\0\0\x01\x2c",
        &[3; 300],
    ]
    .concat()
}

fn ogg_page(flags: u8, data: &[u8]) -> Vec<u8> {
    let length = u8::try_from(data.len()).unwrap();
    let head = [&b"OggS\0"[..], &[flags], &[0; 20], &[2, length, length]];
    [&head.concat()[..], data, data].concat()
}

/// A file of each format, and whether its structure shows that its end is missing.
pub(in crate::archive) fn all() -> Vec<(Format, Vec<u8>, bool)> {
    vec![
        (Format::Png, png(3, 2, 50), true),
        (Format::Jpeg, jpeg(), true),
        (Format::WebP, webp(), true),
        (Format::Avif, avif(), true),
        (Format::Gif, gif(), true),
        (Format::Mp4, video(*b"isom", b"isommp41"), true),
        (Format::Mp4, video(*b"M4V ", b"M4V mp42"), true),
        (Format::Mp4, video(*b"iso9", b"iso9isom"), true),
        (Format::M4a, video(*b"M4A ", b"M4A isom"), true),
        (Format::Mov, video(*b"qt  ", b"qt  "), true),
        (Format::WebM, webm(), true),
        (Format::Wav, wav(), true),
        (Format::Ogg, ogg_page(6, &[9; 200]), true),
        // A page is whole in itself.
        (
            Format::Ogg,
            [ogg_page(2, b"OpusHead"), ogg_page(4, &[9; 200])].concat(),
            false,
        ),
        (
            Format::Flac,
            b"fLaC\x80\0\0\x22metadata and frames".to_vec(),
            false,
        ),
        (Format::Mp3, b"ID3\x04\0\0\0\0\0\0frames".to_vec(), false),
        (Format::Mp3, b"\xff\xfb\x90\x64frames".to_vec(), false),
    ]
}
