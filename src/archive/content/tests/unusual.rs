//! Tests files that are unusual and whole: none of them is refused.

use super::super::samples::{avif_with, boxed, jpeg_with, video, wav, webp};
use strum::VariantArray as _;

use super::*;

const KIB: usize = 1024;

/// Segments of a JPEG, or one box of an AVIF, with as many KiB.
fn metadata_of_jpeg(kibibytes: usize) -> Vec<u8> {
    let segment = [&b"\xff\xe2\x04\x00"[..], &[7; 1022]].concat();
    segment.repeat(kibibytes)
}

fn metadata_of_avif(kibibytes: usize) -> Vec<u8> {
    boxed(*b"free", &vec![7; kibibytes * KIB])
}

#[test]
fn the_size_of_an_image_may_come_after_long_metadata() {
    let avif = |kibibytes| {
        let data = boxed(*b"mdat", &[1; 100]);
        avif_with(&metadata_of_avif(kibibytes), &[], &data)
    };
    for kibibytes in [200, 300, 600, 3900] {
        let jpeg = jpeg_with(&metadata_of_jpeg(kibibytes));
        for (file, size) in [(jpeg, (32, 16)), (avif(kibibytes), (6, 7))] {
            assert_eq!(dimensions(&file), Some(size), "{kibibytes}");
            // In small pieces, and with more data behind it.
            let mut inspector = Inspector::new(Expected::AnyFormat, PIXELS_MAX);
            let more = vec![7; 5000 * KIB];
            for chunk in file.chunks(5000).chain(more.chunks(5000)) {
                inspector.feed(chunk).unwrap();
            }
            assert!(inspector.content().is_some(), "{kibibytes}");
            let cut = &file[..file.len() - 200];
            let refused = judged_as(Expected::AnyFormat, cut, 5000).unwrap_err();
            let is_truncated = matches!(refused, RefusedContent::Truncated { .. });
            assert!(is_truncated, "{kibibytes}: {refused}");
        }
    }
    for file in [jpeg_with(&metadata_of_jpeg(4200)), avif(4200)] {
        let refused = judged_as(Expected::AnyFormat, &file, 5000).unwrap_err();
        let has_none = matches!(refused, RefusedContent::NoDimensions { .. });
        assert!(has_none, "{refused}");
    }
}

#[test]
fn a_jpeg_may_have_fill_bytes_before_a_marker() {
    for fill in [&b"\xff"[..], b"\xff\xff\xff"] {
        assert_eq!(dimensions(&jpeg_with(fill)), Some((32, 16)));
    }
    // Data, or a segment that is too short, where a marker must be.
    for bad in [&b"x"[..], b"\xff\xe2\0\x01", b"\xff\xda\0\x02"] {
        let refused = judged(&jpeg_with(bad)).unwrap_err();
        let has_none = matches!(refused, RefusedContent::NoDimensions { .. });
        assert!(has_none, "{refused}");
    }
}

#[test]
fn an_mp3_may_begin_with_any_frame() {
    for second in [0xfa, 0xfb, 0xf2, 0xf3, 0xe2, 0xe3] {
        let frame = |third: u8| [&[0xff, second, third, 0x64][..], b"\x80frames"].concat();
        assert_eq!(judged(&frame(0x90)).unwrap().format, Format::Mp3);
        // There is no such bitrate, and no such sample rate.
        for third in [0xf0, 0x9c] {
            assert_eq!(judged(&frame(third)), Err(RefusedContent::Unknown));
        }
        // Samples may look like a frame. A tag has three letters.
        let samples = judged_as(Expected::RawPcm, &frame(0x90), 64);
        assert_eq!(samples.unwrap().format, Format::Pcm);
    }
    let tagged = judged_as(Expected::RawPcm, b"ID3\x04\0\0\0\0\0\0frames", 64);
    assert_eq!(tagged.unwrap().format, Format::Mp3);
}

#[test]
fn a_wav_from_a_pipe_does_not_know_its_length() {
    let with_length = |mut file: Vec<u8>, length: u32| {
        file[4..8].copy_from_slice(&length.to_le_bytes());
        judged(&file).map(|content| content.format)
    };
    for length in [0, u32::MAX, 0x7fff_ffff, 0x8000_0024, (1 << 30) + 1] {
        assert_eq!(with_length(wav(), length), Ok(Format::Wav), "{length}");
    }
    for refused in [with_length(wav(), 1 << 30), with_length(webp(), 1 << 31)] {
        assert!(matches!(refused, Err(RefusedContent::Truncated { .. })));
    }
}

#[test]
fn zeros_may_follow_the_last_box() {
    for file in [video(*b"isom", b"isommp41"), avif_with(&[], &idat(), &[])] {
        for zeros in [1, 2, 7, 8, 20] {
            let padded = [&file[..], &vec![0; zeros]].concat();
            assert!(judged(&padded).is_ok(), "{zeros}");
        }
        let cut = [&file[..], b"\0\0\x01"].concat();
        let refused = judged(&cut).unwrap_err();
        assert!(matches!(refused, RefusedContent::Truncated { .. }));
    }
}

fn idat() -> Vec<u8> {
    boxed(*b"idat", &[1; 50])
}

#[test]
fn an_avif_may_have_its_data_in_its_metadata() {
    let whole = avif_with(&[], &idat(), &[]);
    assert_eq!(dimensions(&whole), Some((6, 7)));
    // There may be more boxes in the metadata and after it.
    let free = boxed(*b"free", &[2; 20]);
    let more = avif_with(&free, &[idat(), free.clone()].concat(), &free);
    assert_eq!(dimensions(&more), Some((6, 7)));
    for file in [whole, avif_with(&[], &[idat(), free].concat(), &[])] {
        for length in 0..file.len() {
            assert!(judged(&file[..length]).is_err(), "cut at {length}");
        }
    }
    let without = judged(&avif_with(&[], &[], &[])).unwrap_err();
    assert!(matches!(without, RefusedContent::Truncated { .. }));
}

#[test]
fn an_mp4_may_have_a_newer_brand() {
    let format = |main: [u8; 4], compatible: &[u8]| {
        judged(&video(main, compatible)).map(|content| content.format)
    };
    for main in [b"cmfc", b"iso8", b"hvc1", b"av01"] {
        assert_eq!(format(*main, b""), Ok(Format::Mp4));
        assert_eq!(format(*b"new.", &main[..]), Ok(Format::Mp4));
    }
    for main in [b"M4A ", b"M4B "] {
        assert_eq!(format(*main, b"M4A isommp42"), Ok(Format::M4a));
    }
    assert_eq!(Format::M4a.content_type(), "audio/mp4");
    assert_eq!(Format::M4a.extension(), "m4a");
    assert_eq!(Format::M4a.media(), Media::Audio);
    for unknown in [b"new.", b"heic", b"msf1"] {
        let compatible: &[u8] = match unknown {
            b"new." => b"newer...",
            _ => b"iso8hevc",
        };
        assert_eq!(format(*unknown, compatible), Err(RefusedContent::Unknown));
    }
}

#[test]
fn a_content_type_names_one_format() {
    for format in Format::VARIANTS {
        let found = Format::of_content_type(format.content_type());
        assert_eq!(found, Some(*format));
    }
    assert_eq!(Format::of_content_type("text/html"), None);
}
