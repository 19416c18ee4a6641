//! The result images: real lossless WebP of the requested size. The same seed, prompt and size
//! always produce the same bytes. The images are stripes in four colours, which are cheap to make
//! and small when compressed.

use image_webp::{ColorType, EncodingError, WebPEncoder};
use sha2::{Digest, Sha256};

pub fn webp(prompt: &str, seed: u32, width: u32, height: u32) -> Result<Vec<u8>, EncodingError> {
    let digest: [u8; 32] = Sha256::new()
        .chain_update(seed.to_be_bytes())
        .chain_update(prompt)
        .finalize()
        .into();
    let mut bytes = Vec::new();
    WebPEncoder::new(&mut bytes).encode(
        &stripes(&digest, width, height),
        width,
        height,
        ColorType::Rgb8,
    )?;
    Ok(bytes)
}

/// Draws horizontal stripes. Each row has one colour, so the encoder sees it as one run.
fn stripes(digest: &[u8; 32], width: u32, height: u32) -> Vec<u8> {
    let stripe_height = 16 + u32::from(digest[12] % 48);
    let mut pixels = Vec::with_capacity(width as usize * height as usize * 3);
    for y in 0..height {
        let colour = (y / stripe_height % 4) as usize * 3;
        let rgb = &digest[colour..colour + 3];
        pixels.extend(rgb.iter().copied().cycle().take(width as usize * 3));
    }
    pixels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_request_gives_the_same_bytes_and_another_gives_others() {
        let cat = webp("a cute cat", 7, 376, 400).unwrap();
        assert_eq!(cat, webp("a cute cat", 7, 376, 400).unwrap());
        assert_ne!(cat, webp("a cute cat", 8, 376, 400).unwrap());
        assert_ne!(cat, webp("a cute dog", 7, 376, 400).unwrap());
    }

    #[test]
    fn a_decoder_reads_the_requested_size() {
        let bytes = webp("a cute cat", 7, 377, 1536).unwrap();
        let decoder = image_webp::WebPDecoder::new(std::io::Cursor::new(&bytes)).unwrap();
        assert_eq!(decoder.dimensions(), (377, 1536));
        assert!(bytes.len() < 100_000, "{} bytes", bytes.len());
    }
}
