"""Networks as scikit-learn estimators: a classifier, a regressor, and a transformer.

The one decision: each is a thin translation of its task into rows with numeric targets and back;
the network, its training and its workers know nothing of it.
"""

import math
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from sklearn.base import (
    ClassifierMixin,
    ClassNamePrefixFeaturesOutMixin,
    RegressorMixin,
    TransformerMixin,
)
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from distml.errors import UserError
from distml.train.allowed import check_parameters
from distml.train.network import Network
from distml.train.objective import objective_of
from distml.train.preparation import prepare
from distml.train.reading import read_given, read_rows
from distml.train.targets import ClassTargets, ScaledTargets, distinct, named_loss

__all__ = ["NeuralClassifier", "NeuralRegressor", "NeuralTransformer"]

Array = npt.NDArray[Any]


class NeuralClassifier(ClassifierMixin, Network):
    """A network that tells classes, trained in this process or on several workers.

    Args:
        module: `MLP(...)`, `CNN`, `RNN`, `Transformer`, or any `torch.nn.Module`: an instance (it
            is copied), a class, or a function of any of `num_features`, `num_outputs` and `shape`.
            Its outputs are one logit for each class. Networks of Keras 3 are such modules where the
            environment says `KERAS_BACKEND=torch`. `None`: `MLP()`.
        epochs: passes over the rows.
        batch_size: rows of an optimizer step, over all workers; `"auto"`: up to 1024, fewer for
            small data.
        optimizer: `adam`, `adamw`, `sgd`, `rmsprop`, or an optimizer's class.
        lr: learning rate.
        weight_decay: decay of the weights.
        scheduler: `cosine`, `linear`, `onecycle`, or a function of the optimizer and the number of
            steps; `None`: the rate stays.
        warmup: share of the steps in which the rate rises first.
        cycles: equal parts of the training; with several, the schedule begins anew with each, and
            the weights at its end are kept: see `snapshots`.
        average_cycles: predict by the mean of the networks at the ends of the cycles, a snapshot
            ensemble, instead of the last; for classifiers and regressors.
        loss: `"auto"`: cross-entropy for classes, squared error for numbers (also `absolute_error`,
            `huber`); or a function of outputs and targets that gives a loss for each row.
        early_stopping: epochs without a better validation loss after which training ends; the best
            epoch's weights are kept. `None`: no validation.
        validation_fraction: share of the rows set aside for it.
        num_workers: 0 and 1 train in this process, 1 on a cluster where a GPU is if it asks for
            one and none is here; more on as many workers of Ray Train, which share each batch; a
            pair, on as many as there is room for. The order of rows does not depend on it.
        cpus_per_worker: CPUs, and threads, of each worker; `None`: one, and in this process as many
            as are worth it.
        gpus_per_worker: GPUs of each worker, or a part of one; `None`: in this process one if there
            is one, on several workers none. As a member of an ensemble it is fitted where Ray has
            what it asks for.
        precision: `fp32`, `bf16` or `fp16` (mixed: weights stay fp32).
        strategy: `ddp`, or `fsdp` for what does not fit on one GPU.
        accumulate: micro-batches a step is computed in.
        clip_norm: largest norm of the gradient.
        compile: compile the network by `torch.compile`.
        warm_start: begin a further `fit` with the weights and optimizer of the former.
        init_from: weights to begin with: a fitted network, a state dict, a safetensors file, a
            checkpoint, the folder of a run or bundle. `transfer_` says what was taken over.
        freeze: regular expressions of weights that do not learn.
        lr_factors: regular expression of weights → factor of their learning rate.
        class_weight: class → weight, or `"balanced"`; for classifiers only.
        standardize: subtract each number's mean and divide by its deviation, inside the network;
            missing numbers become the mean.
        inputs: how columns of a table are read, an `Inputs`; `None`: by their types.
        on_nan: what to do when the loss is not finite: `stop`, or `rollback`: go on once from the
            last checkpoint at a tenth of the rate.
        memory_bytes: what rows may take in memory; a dataset that takes more is streamed, all but
            its targets, and kept decoded on the node's disk meanwhile. `None`: it is read whole.
        checkpoint_every_s: seconds between checkpoints in the middle of an epoch, in a run.
        random_state: seed of weights, order and dropout.

    Attributes:
        weights_: name → array.
        history_: a dict of metrics for each epoch.
        classes_: array of shape (n_classes,).
        best_epoch_: whose weights they are, with early stopping.
        transfer_: see `init_from`.

    Raises:
        UserError: on `fit`: a parameter makes no sense or does not suit the data.
    """

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Fit the network.

        Args:
            X: array of shape (n_samples, n_features) or of more dimensions, DataFrame, Arrow table,
                or a `ShardedDataset`.
            y: array of shape (n_samples,), or the name of a column of `X`.
            sample_weight: array of shape (n_samples,).
        """
        return self._fit(X, y, sample_weight, carry_on=self.warm_start)

    def partial_fit(
        self, X: Any, y: Any = None, classes: Any = None, sample_weight: Any = None
    ) -> Self:
        """Train one more epoch, on these rows, from where the network is.

        Args:
            X: see `fit`.
            y: see `fit`.
            classes: all classes there will be; needed the first time if `y` lacks some.
            sample_weight: see `fit`.
        """
        return self._fit(X, y, sample_weight, carry_on=True, classes=classes, epochs=1)

    def predict(self, X: Any) -> Array:
        """Array of shape (n_samples,): the class of each row."""
        codes = self.decision(X).argmax(axis=1)
        return np.asarray(self.classes_[codes])

    def predict_proba(self, X: Any) -> Array:
        """Array of shape (n_samples, n_classes): probabilities in the order of `classes_`."""
        logits = torch.from_numpy(self.decision(X)).double()
        return np.asarray(torch.softmax(logits, dim=1).numpy())

    def decision(self, X: Any) -> Array:
        """Array of shape (n_samples, n_classes): the network's logits.

        Of several networks, see `average_cycles`, the logarithm of their mean probabilities.
        """
        logits = [each._outputs(read_rows(self, X)) for each in self._speakers()]
        if len(logits) == 1:
            return logits[0]
        said = torch.log_softmax(torch.from_numpy(np.stack(logits)).double(), dim=2)
        return np.asarray((torch.logsumexp(said, dim=0) - math.log(len(said))).numpy())

    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        *,
        carry_on: bool,
        classes: Any = None,
        epochs: int | None = None,
    ) -> Self:
        check_parameters(self)
        carry_on = carry_on and hasattr(self, "weights_")
        given = read_given(self, X, y, reset=not carry_on)
        target = given.targets(self)
        if target.dtype.kind not in "iub":  # whole numbers are classes, whichever they are
            check_classification_targets(target)
        if not carry_on:
            self.classes_ = distinct(target if classes is None else np.asarray(classes))
        if len(self.classes_) < 2:
            raise ValueError(
                f"y has 1 class, {self.classes_[0]!r}; a classifier needs at least two"
            )
        encode = ClassTargets.of(target, self.classes_, self.class_weight)
        data = prepare(self, given, encode, sample_weight, num_outputs=len(self.classes_))
        del given, target  # what is streamed would not fit beside them
        objective = objective_of(named_loss(self.loss, "cross_entropy"), task="classification")
        self._train(data, objective, carry_on=carry_on, epochs=epochs)
        return self


class NeuralRegressor(RegressorMixin, Network):
    """A network that tells numbers; see `NeuralClassifier` for the parameters.

    Targets are standardised for the training, so losses in `history_` are in squared standard
    deviations.

    Attributes:
        y_mean_: mean of each target.
        y_scale_: standard deviation of each target.
    """

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Fit the network.

        Args:
            X: see `NeuralClassifier.fit`.
            y: array of shape (n_samples,) or (n_samples, n_targets), or the name of a column.
            sample_weight: array of shape (n_samples,).
        """
        return self._fit(X, y, sample_weight, carry_on=self.warm_start)

    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Train one more epoch, on these rows, from where the network is."""
        return self._fit(X, y, sample_weight, carry_on=True, epochs=1)

    def predict(self, X: Any) -> Array:
        """Array of shape (n_samples,) or (n_samples, n_targets)."""
        said = [each._outputs(read_rows(self, X)) for each in self._speakers()]
        outputs = np.mean(said, axis=0, dtype=np.float64)
        values = outputs * self.y_scale_ + self.y_mean_
        return np.asarray(values[:, 0] if self.is_flat_ else values)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _fit(
        self, X: Any, y: Any, sample_weight: Any, *, carry_on: bool, epochs: int | None = None
    ) -> Self:
        check_parameters(self)
        carry_on = carry_on and hasattr(self, "weights_")
        given = read_given(self, X, y, reset=not carry_on, numeric=True)
        target = given.targets(self)
        wide = target.reshape(len(target), -1).astype(np.float64)
        if not carry_on:
            self.is_flat_ = target.ndim == 1
            self.y_mean_, spread = wide.mean(axis=0), wide.std(axis=0)
            self.y_scale_ = np.where(spread > 0, spread, 1.0)
        encode = ScaledTargets(mean=self.y_mean_, scale=self.y_scale_)
        data = prepare(self, given, encode, sample_weight, num_outputs=wide.shape[1])
        del given, target, wide
        objective = objective_of(named_loss(self.loss, "squared_error"), task="regression")
        self._train(data, objective, carry_on=carry_on, epochs=epochs)
        return self


class NeuralTransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, Network):
    """A network that gives each row a code; see `NeuralClassifier` for the parameters.

    The default is an `Autoencoder`, trained to give its input back. With `init_from` and `epochs=0`
    a trained network is used as it is.
    """

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Fit the network to give its input back.

        Args:
            X: see `NeuralClassifier.fit`; numbers, or one array of fixed size.
            y: ignored.
            sample_weight: array of shape (n_samples,).
        """
        check_parameters(self)
        if self.average_cycles:
            raise UserError(
                "average_cycles=True: codes of different networks have no mean; leave it out, or "
                "transform by each of `snapshots()`"
            )
        carry_on = self.warm_start and hasattr(self, "weights_")
        given = read_given(self, X, None, reset=not carry_on)
        objective = objective_of(named_loss(self.loss, "squared_error"), task="reconstruction")
        data = prepare(self, given, None, sample_weight, num_outputs=0)
        self._train(data, objective, carry_on=carry_on)
        network: Any = self.module_
        with torch.inference_mode():
            self._n_features_out = int(network.encode(data.sample).shape[1])
        return self

    def transform(self, X: Any) -> Array:
        """Array of shape (n_samples, code_size): the code of each row."""
        check_is_fitted(self, "weights_")
        return self._outputs(read_rows(self, X), lambda network, batch: network.encode(batch))

    def score_samples(self, X: Any) -> Array:
        """float32 array of shape (n_samples,): mean squared error of each row's reconstruction.

        In squared standard deviations of the columns; large for rows unlike those trained on.
        """
        check_is_fitted(self, "weights_")
        left = self._outputs(read_rows(self, X))
        return np.asarray(np.square(left).reshape(len(left), -1).mean(axis=1))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []  # codes are float32
        return tags

    def _module(self) -> Any:
        if self.module is not None:
            return self.module
        from distml.train.modules import Autoencoder

        return Autoencoder()
