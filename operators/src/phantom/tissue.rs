//! From the distances to the parts of a head to HU: tissues in layers, each laid over those before it by how much of a
//! pixel it covers.
//!
//! HU: `mida_tissue_hu.csv` of github.com/DIDSR/InSilicoICH (CC0) and, for brain, what head CT shows in vivo.

use super::anatomy::TissueHu;
use super::bleed::fluid;
use super::field::mix;
use super::part::{self, Parts};
use super::shape::{cover, ramp};
use crate::labels::Subtype;

/// Air.
pub(super) const AIR_HU: f32 = -1000.0;
/// How thick the cortical ribbon is, mm.
const CORTEX_MM: f32 = 2.7;

/// What a pixel shows: HU, and how much of it is bleed of each kind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown {
    pub(super) hu: f32,
    pub(super) bleed: [f32; 5],
}

/// What a pixel of this width, mm, shows.
pub(super) fn shown(parts: &Parts, hu: &TissueHu, sulcus_mm: f32, width: f32) -> Shown {
    let head = cover(parts[part::HEAD], width);
    let mut bleed = [0.0; 5];
    if head <= 0.0 {
        return Shown { hu: AIR_HU, bleed };
    }
    let inside = cover(parts[part::CAVITY], width);
    let mut value = if inside < 1.0 { wall(parts, hu, width) } else { 0.0 };
    if inside > 0.0 {
        let (content, found) = content(parts, hu, sulcus_mm, width);
        // The HU that bleeds are drawn with are as measured: the shade is in them.
        let shade = parts[part::SHADE] * (1.0 - found.iter().sum::<f32>());
        value = mix(value, content + shade, inside);
        bleed = found.map(|share| share * inside);
    }
    Shown { hu: mix(AIR_HU, value, head), bleed }
}

/// HU outside the cranial cavity: scalp, face, bone, air cells.
fn wall(parts: &Parts, hu: &TissueHu, width: f32) -> f32 {
    let under_skin = -parts[part::HEAD];
    let cavity = parts[part::CAVITY];
    let outer = cavity - parts[part::SKULL];
    let rough = parts[part::ROUGH];
    let deep = ramp(7.0, 12.0, under_skin) * ramp(1.0, 5.0, outer);
    let flesh = mix(-105.0, 54.0, ramp(-0.9, 0.2, rough));
    let mut value = mix(-108.0 + 12.0 * rough, flesh, deep);
    value = mix(value, 55.0 + 4.0 * rough, cover(outer - parts[part::MUSCLE] * (0.95 + 0.06 * rough), width.max(0.8)));
    value = mix(value, 45.0, cover(under_skin - 1.9, width));

    let orbit = parts[part::ORBIT];
    if orbit < 3.0 {
        let wall = cover(orbit - 1.7, width) * ramp(3.0, 7.0, under_skin);
        value = mix(value, 650.0, wall);
        value = mix(value, -95.0 + 8.0 * rough, cover(orbit, width));
        value = mix(value, 42.0, cover(parts[part::EYE], width));
        value = mix(value, 9.0, cover(parts[part::EYE] + 1.6, width) * ramp(-1.6, -2.6, parts[part::EYE]));
    }
    let in_bone = cavity.min(parts[part::SKULL] - cavity);
    let shell = mix(hu.table, hu.diploe + 110.0 * rough, ramp(1.3, 2.2, in_bone));
    value = mix(value, shell, cover(outer, width));
    value = mix(value, 950.0 + 260.0 * rough, cover(parts[part::BASE], width));
    let air = parts[part::AIR];
    if air < 2.0 {
        let free = ramp(0.8, 1.6, cavity) * ramp(2.0, 3.5, under_skin);
        value = mix(value, 480.0, cover(air - 1.1, width) * free);
        value = mix(value, AIR_HU + 20.0, cover(air, width) * free);
    }
    value
}

/// HU inside the cranial cavity, and how much is bleed of each kind.
fn content(parts: &Parts, hu: &TissueHu, sulcus_mm: f32, width: f32) -> (f32, [f32; 5]) {
    let hind = parts[part::HIND];
    let wide = sulcus_mm * (1.0 - 0.75 * hind);
    // Positive in the tissue, mm from the nearest fluid outside the ventricles.
    let from_fluid = fluid(parts, wide);
    let ribbon = cover(from_fluid - CORTEX_MM, width + 1.2);
    let deep = cover(parts[part::DEEP], 2.0);
    let gray = mix(ribbon.max(0.92 * deep), 0.35 + 0.3 * ribbon, hind);
    let mut tissue = mix(hu.white, hu.gray, gray) + parts[part::TEXTURE];
    tissue = mix(tissue, 16.0, 0.75 * cover(parts[part::EDEMA], 4.0) * (1.0 - 0.5 * gray));
    tissue = mix(tissue, hu.infarct, cover(parts[part::INFARCT], 2.5));
    let mut value = mix(hu.fluid, tissue, cover(-from_fluid, width));
    value = mix(value, hu.fluid, cover(parts[part::VENTRICLE], width));
    value = mix(value, hu.dura, cover(parts[part::DURA], width));
    value = mix(value, hu.vessel, cover(parts[part::VESSEL], width));

    let mut bleed = [0.0; 5];
    // Dura lines the bone: no bleed within a millimeter of it.
    let mut rest = cover(parts[part::CAVITY] + 1.0, width);
    let texture = 2.0 * parts[part::ROUGH];
    for kind in [
        Subtype::Epidural,
        Subtype::Subdural,
        Subtype::Intraventricular,
        Subtype::Intraparenchymal,
        Subtype::Subarachnoid,
    ] {
        let slot = kind.index();
        let distance = parts[part::BLEED + slot];
        if distance > 4.0 {
            continue;
        }
        let share = match kind {
            Subtype::Epidural | Subtype::Subdural => cover(distance, width),
            Subtype::Intraventricular => cover(distance.max(parts[part::VENTRICLE]), width),
            Subtype::Intraparenchymal => cover(distance, width.max(0.7)) * cover(parts[part::BRAIN], width),
            Subtype::Subarachnoid => cover(fluid(parts, sulcus_mm.max(0.6) + 0.5), width) * cover(distance, 5.0),
        };
        let share = share.min(rest);
        value = mix(value, parts[part::BLEED_HU + slot] + texture, share);
        bleed[slot] = share;
        rest -= share;
    }
    let calcium = cover(parts[part::CALCIUM], width.max(0.8));
    (mix(value, hu.calcium, calcium), bleed)
}
