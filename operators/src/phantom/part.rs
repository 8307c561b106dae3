//! The numbers that describe a point of the head: signed distances to its parts, mm, and amounts that vary smoothly.

/// How many numbers describe a point: those named below, then the bleeds.
pub(super) const PARTS: usize = 36;
/// Numbers that describe a point.
pub(super) type Parts = [f32; PARTS];

/// Signed distance to the skin.
pub(super) const HEAD: usize = 0;
/// Signed distance to the inner table: negative inside the cranial cavity.
pub(super) const CAVITY: usize = 1;
/// Thickness of the skull.
pub(super) const SKULL: usize = 2;
/// Thickness of the muscle on the skull.
pub(super) const MUSCLE: usize = 3;
/// Signed distance to the surface of the brain, sulci bridged.
pub(super) const BRAIN: usize = 4;
/// Signed distance to the middle of the nearest sulcus.
pub(super) const SULCUS: usize = 5;
/// How far below the bottom of the sulci.
pub(super) const BELOW_SULCI: usize = 6;
/// Signed distance to the midline, to the left.
pub(super) const MIDLINE: usize = 7;
/// How far inside the parts that join the hemispheres: no fissure there.
pub(super) const JOINED: usize = 8;
/// Signed distance to the ventricles.
pub(super) const VENTRICLE: usize = 9;
/// Signed distance to the cisterns and the lateral fissures.
pub(super) const CISTERN: usize = 10;
/// Signed distance to the deep gray nuclei.
pub(super) const DEEP: usize = 11;
/// Signed distance to falx and tentorium.
pub(super) const DURA: usize = 12;
/// Signed distance to the dural sinuses and large arteries.
pub(super) const VESSEL: usize = 13;
/// Signed distance to air inside bone and face.
pub(super) const AIR: usize = 14;
/// Signed distance to the bones of the skull base.
pub(super) const BASE: usize = 15;
/// Signed distance to the orbits.
pub(super) const ORBIT: usize = 16;
/// Signed distance to what is soft in an orbit.
pub(super) const EYE: usize = 17;
/// Signed distance to calcifications.
pub(super) const CALCIUM: usize = 18;
/// Signed distance to old infarcts.
pub(super) const INFARCT: usize = 19;
/// HU to add to brain: texture, faint white matter.
pub(super) const TEXTURE: usize = 20;
/// HU to add to the image: hardening of the beam, streaks.
pub(super) const SHADE: usize = 21;
/// Signed distance to the edema around a bleed.
pub(super) const EDEMA: usize = 22;
/// 1 in brain stem and cerebellum, 0 in the cerebrum.
pub(super) const HIND: usize = 23;
/// Bone structure in the face and below the skull: a random amount.
pub(super) const ROUGH: usize = 24;
/// Signed distance to the first of the five kinds of bleed; the others follow.
pub(super) const BLEED: usize = 26;
/// HU of the first of the five kinds of bleed; the others follow.
pub(super) const BLEED_HU: usize = 31;
