//! The widest vectors that this processor has, for the host's own loops.

/// Does `work` in the widest vectors that this processor has, and with its instructions that count bits.
///
/// What is called must be a function marked `#[inline(always)]`, as all that it calls: only what is compiled into the caller is
/// compiled for these vectors. Its result is the same in any.
pub(crate) fn widest<A, R>(work: impl Fn(A) -> R, argument: A) -> R {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("popcnt")
    {
        #[target_feature(enable = "avx2,bmi1,bmi2,popcnt")]
        fn with_avx2<A, R>(work: impl Fn(A) -> R, argument: A) -> R {
            work(argument)
        }
        // SAFETY: the processor has what the function is compiled for.
        return unsafe { with_avx2(work, argument) };
    }
    work(argument)
}
