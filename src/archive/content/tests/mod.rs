//! Tests what is kept and why the rest is not, for every format and every place of a cut.

mod unusual;

use super::samples::{all, png};
use super::*;

const PIXELS_MAX: u64 = 40_000_000;

fn judged(file: &[u8]) -> Result<Content, RefusedContent> {
    judged_as(Expected::AnyFormat, file, file.len().max(1))
}

fn judged_as(
    expected: Expected,
    file: &[u8],
    chunk_bytes: usize,
) -> Result<Content, RefusedContent> {
    let mut inspector = Inspector::new(expected, PIXELS_MAX);
    for chunk in file.chunks(chunk_bytes) {
        inspector.feed(chunk)?;
    }
    inspector.finish()
}

fn dimensions(file: &[u8]) -> Option<(u32, u32)> {
    let content = judged(file).unwrap();
    content.dimensions.map(|size| (size.width, size.height))
}

#[test]
fn every_format_is_recognised_however_its_bytes_arrive() {
    for (format, file, _) in all() {
        for chunk_bytes in [1, 2, 7, 64, file.len()] {
            let content = judged_as(Expected::AnyFormat, &file, chunk_bytes);
            let found = content.map(|content| content.format);
            assert_eq!(found, Ok(format), "in chunks of {chunk_bytes}");
        }
        assert_eq!(
            dimensions(&file).is_some(),
            format.media() == Media::Image,
            "{format:?}"
        );
    }
}

#[test]
fn the_dimensions_come_from_the_header() {
    let sizes: Vec<_> = all()
        .iter()
        .filter_map(|(format, file, _)| Some((*format, dimensions(file)?)))
        .collect();
    assert_eq!(
        sizes,
        [
            (Format::Png, (3, 2)),
            (Format::Jpeg, (32, 16)),
            (Format::WebP, (5, 4)),
            (Format::Avif, (6, 7)),
            (Format::Gif, (2, 3)),
        ]
    );
}

#[test]
fn a_file_without_its_end_is_refused_wherever_it_is_cut() {
    for (format, file, shows_end) in all() {
        if !shows_end {
            continue;
        }
        for length in 0..file.len() {
            let refused = judged(&file[..length]);
            assert!(refused.is_err(), "{format:?} cut at {length}: {refused:?}");
        }
        let almost = judged(&file[..file.len() - 1]).unwrap_err();
        assert!(
            matches!(almost, RefusedContent::Truncated { .. }),
            "{format:?}: {almost:?}"
        );
    }
}

#[test]
fn a_large_file_cut_at_each_kilobyte_is_refused() {
    let file = png(512, 512, 600_000);
    assert!(judged(&file).is_ok());
    for kilobytes in 1..file.len() / 1024 {
        let bytes = kilobytes * 1024;
        let refused = judged_as(Expected::AnyFormat, &file[..bytes], 16_384);
        let expected = RefusedContent::Truncated {
            format: Format::Png,
            bytes: bytes as u64,
        };
        assert_eq!(refused, Err(expected));
    }
}

#[test]
fn a_polyglot_is_what_its_first_bytes_say() {
    for (format, file, _) in all() {
        if format.media() != Media::Image || format == Format::Avif {
            continue;
        }
        let polyglot = [&file[..], b"<html><script>alert(1)</script></html>"].concat();
        let content = judged(&polyglot).unwrap();
        assert_eq!(content.format, format);
    }
}

#[test]
fn what_is_no_media_file_is_refused_with_its_reason() {
    for (file, reason) in [
        (&b""[..], RefusedContent::Empty),
        (b"<!DOCTYPE html><title>x</title>", RefusedContent::Html),
        (b"\xef\xbb\xbf \n<HTML><body>", RefusedContent::Html),
        (b"<script>alert(1)</script>", RefusedContent::Html),
        (b"<html><svg></svg></html>", RefusedContent::Html),
        (b"<svg xmlns=\"x\"/>", RefusedContent::Svg),
        (
            b"<?xml version=\"1.0\"?><!-- x --><SVG>",
            RefusedContent::Svg,
        ),
        (b"<?xml version=\"1.0\"?><Error/>", RefusedContent::Xml),
        (b" {\"error\": 1}", RefusedContent::Json),
        (b"[]", RefusedContent::Json),
        (b"not found", RefusedContent::Text),
        ("zażółć ".as_bytes(), RefusedContent::Text),
        (b"\x1f\x8b\x08\0\0\0\0\0\0\x03", RefusedContent::Unknown),
        (b"PK\x03\x04zip\0", RefusedContent::Unknown),
        (b"%PDF-1.7\n\x80", RefusedContent::Unknown),
        (b"\x00\x01\x02", RefusedContent::Unknown),
        (b"BM\0\0\0\0bitmap", RefusedContent::Unknown),
    ] {
        assert_eq!(judged(file), Err(reason), "{:?}", file.escape_ascii());
    }
}

#[test]
fn an_image_must_have_pixels_and_not_too_many() {
    let (width, height) = (60_000, 60_000);
    let refused = judged(&png(width, height, 10)).unwrap_err();
    let expected = RefusedContent::TooManyPixels {
        width,
        height,
        pixels_max: PIXELS_MAX,
    };
    assert_eq!(refused, expected);
    assert_eq!(
        refused.to_string(),
        "the image has too many pixels: 60000x60000, and 40000000 are allowed"
    );
    assert!(judged(&png(8000, 5000, 10)).is_ok());
    assert!(judged(&png(8000, 5001, 10)).is_err());
    assert!(judged(&png(u32::MAX, u32::MAX, 10)).is_err());
    let none = judged(&png(0, 5, 10)).unwrap_err();
    assert!(matches!(none, RefusedContent::NoPixels { .. }));
}

#[test]
fn too_many_pixels_are_refused_before_the_file_ends() {
    let file = png(60_000, 60_000, 400_000);
    let mut inspector = Inspector::new(Expected::AnyFormat, PIXELS_MAX);
    let refused = inspector.feed(&file[..300_000]);
    assert!(matches!(refused, Err(RefusedContent::TooManyPixels { .. })));
}

#[test]
fn raw_pcm_is_kept_only_where_it_is_expected() {
    let samples = [0, 0, 1, 0xff, 0x7f, 3].repeat(100);
    assert_eq!(judged(&samples), Err(RefusedContent::Unknown));
    let as_pcm = |file: &[u8]| judged_as(Expected::RawPcm, file, 64);
    let content = as_pcm(&samples).unwrap();
    assert_eq!(content.format.content_type(), "audio/pcm");
    assert_eq!(as_pcm(b"<html>"), Err(RefusedContent::Html));
    assert_eq!(as_pcm(b"{}"), Err(RefusedContent::Json));
    assert_eq!(as_pcm(b""), Err(RefusedContent::Empty));
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_panic(
        which in 0..17_usize,
        changes in proptest::collection::vec((0..400_usize, proptest::prelude::any::<u8>()), 0..8),
        length in 0..500_usize,
    ) {
        let (_, mut file, _) = all().swap_remove(which);
        for (at, byte) in changes {
            if let Some(changed) = file.get_mut(at) {
                *changed = byte;
            }
        }
        file.truncate(length);
        let whole = judged(&file);
        let in_bytes = judged_as(Expected::AnyFormat, &file, 1);
        proptest::prop_assert_eq!(whole, in_bytes);
    }
}
