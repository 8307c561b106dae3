//! The sequence head: features of neighboring slices in, one logit for each of them out.
//!
//! A gated recurrent unit (Cho et al., EMNLP 2014, reset after the product as in cuDNN) or a long short-term memory
//! (Hochreiter, Schmidhuber 1997), one way or both ways, then `out -> hidden/2 -> hidden/4 -> 1` with ReLU on every step. Many to
//! many: `[batch, steps, D]` to `[batch, steps]`. Each sequence starts from a zero state.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::{relu, sigmoid, tanh};
use burn::tensor::{Device, Tensor};

use super::card::Context;

/// One direction of one layer. Gates are stacked: reset, update, new; or input, forget, cell, output.
#[derive(Module, Debug)]
pub(crate) struct Direction {
    input: Linear,
    hidden: Linear,
    units: usize,
    lstm: bool,
}

/// One layer, one or two directions.
#[derive(Module, Debug)]
pub(crate) struct Layer {
    forward: Direction,
    backward: Option<Direction>,
}

/// The network.
#[derive(Module, Debug)]
pub(crate) struct Head {
    layers: Vec<Layer>,
    mlp: Vec<Linear>,
}

/// What decides the shapes of a [`Head`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HeadShape {
    pub(crate) features: usize,
    pub(crate) context: Context,
    pub(crate) hidden: usize,
    pub(crate) layers: usize,
}

impl HeadShape {
    pub(crate) fn init(self, device: &Device) -> Head {
        let lstm = self.context.is_lstm();
        let out = if self.context.both_ways() { 2 * self.hidden } else { self.hidden };
        let direction = |from| Direction::new(from, self.hidden, lstm, device);
        let sizes = [out, (self.hidden / 2).max(1), (self.hidden / 4).max(1), 1];
        Head {
            layers: (0..self.layers)
                .map(|index| {
                    let from = if index == 0 { self.features } else { out };
                    Layer { forward: direction(from), backward: self.context.both_ways().then(|| direction(from)) }
                })
                .collect(),
            mlp: sizes.windows(2).map(|pair| LinearConfig::new(pair[0], pair[1]).init(device)).collect(),
        }
    }
}

impl Direction {
    fn new(from: usize, units: usize, lstm: bool, device: &Device) -> Self {
        let gates = if lstm { 4 } else { 3 };
        let linear = |from| LinearConfig::new(from, gates * units).init(device);
        Self { input: linear(from), hidden: linear(units), units, lstm }
    }

    /// `[batch, steps, from]` to the states after each step, `[batch, units]` each, in the order of the steps.
    fn states(&self, sequence: Tensor<3>, reverse: bool) -> Vec<Tensor<3>> {
        let device = sequence.device();
        let [batch, steps, from] = sequence.dims();
        let units = self.units;
        let projected = self.input.forward(sequence.reshape([batch * steps, from])).reshape([
            batch,
            steps,
            self.input.weight.dims()[1],
        ]);
        let mut state = Tensor::<2>::zeros([batch, units], &device);
        let mut cell = state.clone();
        let mut states = Vec::with_capacity(steps);
        for index in 0..steps {
            let step = if reverse { steps - 1 - index } else { index };
            let from_input = projected.clone().narrow(1, step, 1).squeeze_dim::<2>(1);
            let from_state = self.hidden.forward(state.clone());
            let gate = |tensor: &Tensor<2>, index: usize| tensor.clone().narrow(1, index * units, units);
            let sum = |index| gate(&from_input, index) + gate(&from_state, index);
            if self.lstm {
                cell = sigmoid(sum(1)) * cell + sigmoid(sum(0)) * tanh(sum(2));
                state = sigmoid(sum(3)) * tanh(cell.clone());
            } else {
                let reset = sigmoid(sum(0));
                let update = sigmoid(sum(1));
                let new = tanh(gate(&from_input, 2) + reset * gate(&from_state, 2));
                state = new.clone() + update * (state - new);
            }
            states.push(state.clone().unsqueeze_dim::<3>(1));
        }
        if reverse {
            states.reverse();
        }
        states
    }
}

impl Head {
    /// One logit for each step: `[batch, steps, D]` to `[batch, steps]`.
    pub(crate) fn forward(&self, sequences: Tensor<3>) -> Tensor<2> {
        let [batch, steps, _] = sequences.dims();
        let mut out = sequences;
        for layer in &self.layers {
            let ahead = Tensor::cat(layer.forward.states(out.clone(), false), 1);
            out = match &layer.backward {
                Some(direction) => Tensor::cat(vec![ahead, Tensor::cat(direction.states(out, true), 1)], 2),
                None => ahead,
            };
        }
        let width = out.dims()[2];
        let mut flat = out.reshape([batch * steps, width]);
        for (index, linear) in self.mlp.iter().enumerate() {
            flat = linear.forward(if index == 0 { flat } else { relu(flat) });
        }
        flat.reshape([batch, steps])
    }
}
