//! What remains of a refused function: the function, and why it was refused.
//!
//! Were it to vanish, every call of it would be an error too, and the editor could complete nothing
//! in it.

use proc_macro2::TokenStream;
use quote::quote;

/// The error, and the item as if the attribute were not there.
pub(crate) fn give_back(refusal: &syn::Error, item: &TokenStream) -> TokenStream {
    let error = refusal.to_compile_error();
    quote!(#error #item)
}
