//! Reconstruction kernels: which are sharp. A sharp kernel's noise hides a bleed, so a series of it is left out where
//! the same study has a soft one.

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

use super::attribute::{items, texts};
use super::{Instance, Source};

/// Whether an instance was reconstructed with a sharp kernel. An instance that does not name its kernel is not sharp.
#[must_use]
pub fn sharp_kernel(instance: &Instance) -> bool {
    let object = instance.frames.first().and_then(|frame| match &frame.pixels.source {
        Source::Encoded { object, .. } => Some(object),
        Source::Decoded(_) => None,
    });
    object.is_some_and(|object| kernels(object).iter().any(|kernel| is_sharp(kernel)))
}

/// The kernels that an image names.
///
/// Source: DICOM PS3.3 C.8.2.1 (Convolution Kernel), C.8.15.3.10 (CT Reconstruction); of a legacy converted image, the
/// attributes that its conversion left unassigned.
pub(crate) fn kernels(object: &InMemDicomObject) -> Vec<String> {
    let in_groups = |groups: Tag, sequence: Tag| {
        items(object, groups)
            .iter()
            .flat_map(move |group| items(group, sequence))
            .flat_map(|item| texts(item, tags::CONVOLUTION_KERNEL))
    };
    let shared = tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE;
    let own = tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE;
    texts(object, tags::CONVOLUTION_KERNEL)
        .into_iter()
        .chain(in_groups(shared, tags::CT_RECONSTRUCTION_SEQUENCE))
        .chain(in_groups(shared, tags::UNASSIGNED_SHARED_CONVERTED_ATTRIBUTES_SEQUENCE))
        .chain(in_groups(own, tags::CT_RECONSTRUCTION_SEQUENCE))
        .collect()
}

/// Whether a manufacturer's name of a kernel means bone, lung or inner ear.
///
/// General Electric writes words; Siemens a letter or two and a sharpness, `H60s`, `Hr68`; Canon `FC` and a number;
/// Philips one or two letters.
#[must_use]
pub fn is_sharp(kernel: &str) -> bool {
    let kernel = kernel.trim().to_ascii_uppercase();
    if ["BONE", "EDGE", "LUNG"].iter().any(|word| kernel.contains(word)) {
        return true;
    }
    if ["D", "E", "L", "YA", "YB", "YC", "YD", "YE"].contains(&kernel.as_str()) {
        return true;
    }
    let letters: String = kernel.chars().take_while(char::is_ascii_alphabetic).collect();
    let digits: String = kernel.chars().skip(letters.len()).take_while(char::is_ascii_digit).collect();
    let Ok(number) = digits.parse::<u32>() else { return false };
    match letters.as_str() {
        "FC" => matches!(number, 30..=39 | 50..=59 | 80..=89),
        "H" | "HR" | "HC" | "HF" | "B" | "BR" | "BL" | "BF" | "U" | "UR" | "QR" | "SA" | "T" | "TR" | "J" | "D"
        | "I" | "C" => number >= 60,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_sharp_from_soft_for_four_manufacturers() {
        for sharp in ["BONE", "BONEPLUS", "EDGE", "YA", "H60s", "H70h", "Hr68", "J70h", "FC30", "FC81"] {
            assert!(is_sharp(sharp), "{sharp}");
        }
        for soft in ["STANDARD", "STD+", "SOFT", "UB", "UA", "H31s", "H41s", "Hr38", "J30s", "FC21", "FC26", "", "22"] {
            assert!(!is_sharp(soft), "{soft}");
        }
    }
}
