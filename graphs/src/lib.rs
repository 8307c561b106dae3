//! Named assemblies of operators.
