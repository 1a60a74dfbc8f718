"""The programs that the pages of results compare: each is a function that brings its imports and takes turns (turns.py)."""
import math
import os
import time
from itertools import chain, count, islice

import numpy as np
from turns import tell, wait, write_program


def binarized(name):
    "MNIST's x_train or x_test as float32 [N, 28, 28, 1], each pixel 0 or 1."
    grey = np.load(os.environ["CVAE_NB_DATA"] + "/mnist.npz")[name][..., np.newaxis] / 255.0
    return np.where(grey > 0.5, 1.0, 0.0).astype("float32")


def tutorial_data(name):
    import tensorflow as tf

    images = binarized(name)
    return tf.data.Dataset.from_tensor_slices(images).shuffle(len(images)).batch(32)


def keras_network():
    "Encoder [B, 28, 28, 1] -> [B, 4] and decoder [B, 2] -> logits [B, 28, 28, 1]."
    import keras
    from keras import layers

    encoder = keras.Sequential([
        keras.Input((28, 28, 1)),
        layers.Conv2D(32, 3, strides=2, activation="relu"),
        layers.Conv2D(64, 3, strides=2, activation="relu"),
        layers.Flatten(),
        layers.Dense(4)])
    decoder = keras.Sequential([
        keras.Input((2,)),
        layers.Dense(7 * 7 * 32, activation="relu"),
        layers.Reshape((7, 7, 32)),
        layers.Conv2DTranspose(64, 3, strides=2, padding="same", activation="relu"),
        layers.Conv2DTranspose(32, 3, strides=2, padding="same", activation="relu"),
        layers.Conv2DTranspose(1, 3, padding="same")])
    return encoder, decoder


def keras_loss(encoder, decoder, x):
    "A scalar, in nats per image."
    import tensorflow as tf

    def log_normal(z, mean, logvar):
        return -0.5 * tf.reduce_sum((z - mean) ** 2 * tf.exp(-logvar) + logvar + math.log(2 * math.pi), axis=1)

    mean, logvar = tf.split(encoder(x), 2, axis=1)
    z = mean + tf.exp(0.5 * logvar) * tf.random.normal(tf.shape(mean))
    cross_entropy = tf.nn.sigmoid_cross_entropy_with_logits(labels=x, logits=decoder(z))
    log_likelihood = -tf.reduce_sum(cross_entropy, axis=[1, 2, 3])
    return -tf.reduce_mean(log_likelihood + log_normal(z, 0.0, 0.0) - log_normal(z, mean, logvar))


def tutorial_step(encoder, decoder):
    "A function that takes one step of Adam on a batch, and returns the loss."
    import keras
    import tensorflow as tf

    optimizer = keras.optimizers.Adam(1e-4)
    variables = encoder.trainable_variables + decoder.trainable_variables

    @tf.function
    def step(x):
        with tf.GradientTape() as tape:
            loss = keras_loss(encoder, decoder, x)
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    return step


def tutorial_loop(n_images):
    encoder, decoder = keras_network()
    step, data = tutorial_step(encoder, decoder), tutorial_data("x_train")
    batches = chain.from_iterable(data for _ in count())  # epoch after epoch
    for x in islice(batches, 20):
        step(x)
    tell(parameters=encoder.count_params() + decoder.count_params())
    while True:
        began = wait()
        for x in islice(batches, n_images // 32):
            loss = step(x)
        tell(began, loss=float(loss))


def batch_turns(n_batches):
    "A Keras callback that makes a turn of every `n_batches` batches after the first 20."
    import keras

    class BatchTurns(keras.callbacks.Callback):
        seen = 0

        def on_train_batch_end(self, batch, logs=None):
            self.seen += 1
            if self.seen == 20:
                tell(parameters=sum(math.prod(v.shape) for v in self.model.trainable_variables))
                self.began = wait()
            elif self.seen > 20 and (self.seen - 20) % n_batches == 0:
                tell(self.began, **logs)
                self.began = wait()

    return BatchTurns()


def keras_fit(n_images, batch_size):
    import keras
    import tensorflow as tf

    class Autoencoder(keras.Model):
        def __init__(self):
            super().__init__()
            self.encoder, self.decoder = keras_network()
            self.mean_loss = keras.metrics.Mean(name="loss")

        def train_step(self, x):
            with tf.GradientTape() as tape:
                loss = keras_loss(self.encoder, self.decoder, x)
            self.optimizer.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
            self.mean_loss.update_state(loss)
            return {"loss": self.mean_loss.result()}

    model = Autoencoder()
    model.compile(optimizer=keras.optimizers.Adam(1e-4), jit_compile=False)  # XLA is slower on a CPU
    model.fit(binarized("x_train"), batch_size=batch_size, epochs=100, verbose=0, callbacks=[batch_turns(n_images // batch_size)])


def torch_network():
    "Encoder [B, 1, 28, 28] -> [B, 4] and decoder [B, 2] -> logits [B, 1, 28, 28]."
    import torch
    from torch import nn

    encoder = nn.Sequential(
        nn.Conv2d(1, 32, 3, stride=2), nn.ReLU(),
        nn.Conv2d(32, 64, 3, stride=2), nn.ReLU(),
        nn.Flatten(), nn.Linear(64 * 6 * 6, 4))
    decoder = nn.Sequential(
        nn.Linear(2, 32 * 7 * 7), nn.ReLU(), nn.Unflatten(1, (32, 7, 7)),
        nn.ConvTranspose2d(32, 64, 3, stride=2, padding=1, output_padding=1), nn.ReLU(),
        nn.ConvTranspose2d(64, 32, 3, stride=2, padding=1, output_padding=1), nn.ReLU(),
        nn.ConvTranspose2d(32, 1, 3, padding=1))
    return encoder.to(memory_format=torch.channels_last), decoder.to(memory_format=torch.channels_last)


def torch_loss(encoder, decoder, x):
    "A scalar, in nats per image."
    import torch
    from torch.nn import functional

    def log_normal(z, mean, logvar):
        return -0.5 * ((z - mean) ** 2 * torch.exp(-logvar) + logvar + math.log(2 * math.pi)).sum(1)

    mean, logvar = encoder(x).chunk(2, dim=1)
    z = mean + torch.exp(0.5 * logvar) * torch.randn_like(mean)
    log_likelihood = -functional.binary_cross_entropy_with_logits(decoder(z), x, reduction="none").sum((1, 2, 3))
    zero = torch.zeros(())
    return -(log_likelihood + log_normal(z, zero, zero) - log_normal(z, mean, logvar)).mean()


def torch_loop(n_images, batch_size):
    import torch

    images = torch.from_numpy(binarized("x_train")).permute(0, 3, 1, 2)
    encoder, decoder = torch_network()
    weights = [*encoder.parameters(), *decoder.parameters()]
    optimizer = torch.optim.Adam(weights, lr=1e-4, fused=True)

    def epoch():
        order = torch.randperm(len(images))[:n_images]
        for index in order.split(batch_size):
            x = images[index].contiguous(memory_format=torch.channels_last)
            loss = torch_loss(encoder, decoder, x)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return loss.item()

    epoch()
    tell(parameters=sum(w.numel() for w in weights))
    while True:
        began = wait()
        loss = epoch()
        tell(began, loss=loss)


def jax_network():
    "Weights of encoder and decoder, and functions of weights: images [B, 28, 28, 1] -> [B, 4], and z [B, 2] -> logits."
    import jax
    from jax import lax

    layout, relu = ("NHWC", "HWIO", "NHWC"), jax.nn.relu

    def conv(x, kernel, bias):
        return relu(lax.conv_general_dilated(x, kernel, (2, 2), "VALID", dimension_numbers=layout) + bias)

    def conv_transpose(x, kernel, bias, stride):
        return lax.conv_transpose(x, kernel, (stride, stride), "SAME", dimension_numbers=layout) + bias

    def encode(weights, x):
        *convs, (matrix, bias) = weights
        for kernel in convs:
            x = conv(x, *kernel)
        return x.reshape(len(x), -1) @ matrix + bias

    def decode(weights, z):
        (matrix, bias), first, second, last = weights
        x = relu(z @ matrix + bias).reshape(-1, 7, 7, 32)
        x = relu(conv_transpose(x, *first, 2))
        return conv_transpose(relu(conv_transpose(x, *second, 2)), *last, 1)

    def layer(k, *shape):
        return jax.nn.initializers.glorot_uniform()(jax.random.key(k), shape), np.zeros(shape[-1], "float32")

    encoder = [layer(0, 3, 3, 1, 32), layer(1, 3, 3, 32, 64), layer(2, 6 * 6 * 64, 4)]
    decoder = [layer(3, 2, 7 * 7 * 32), layer(4, 3, 3, 32, 64), layer(5, 3, 3, 64, 32), layer(6, 3, 3, 32, 1)]
    return (encoder, decoder), encode, decode


def jax_loss(weights, encode, decode, x, key):
    "A scalar, in nats per image."
    import jax
    from jax import numpy as jnp

    def log_normal(z, mean, logvar):
        return -0.5 * ((z - mean) ** 2 * jnp.exp(-logvar) + logvar + math.log(2 * math.pi)).sum(1)

    mean, logvar = jnp.split(encode(weights[0], x), 2, axis=1)
    z = mean + jnp.exp(0.5 * logvar) * jax.random.normal(key, mean.shape)
    logits = decode(weights[1], z)
    log_likelihood = (x * logits - jax.nn.softplus(logits)).sum((1, 2, 3))
    return -(log_likelihood + log_normal(z, 0.0, 0.0) - log_normal(z, mean, logvar)).mean()


def jax_loop(n_images, batch_size):
    import jax
    from jax import numpy as jnp
    from jax.example_libraries.optimizers import adam

    images, (start, encode, decode) = jnp.asarray(binarized("x_train")), jax_network()
    begin, update, weights_of = adam(1e-4)
    state = begin(start)

    @jax.jit
    def step(k, state, index):
        key = jax.random.fold_in(jax.random.key(1), k)
        loss, grads = jax.value_and_grad(jax_loss)(weights_of(state), encode, decode, images[index], key)
        return update(k, grads, state), loss

    def epoch(first):
        nonlocal state
        order = np.random.default_rng(first).permutation(len(images))[:n_images]
        for k in range(n_images // batch_size):
            state, loss = step(first + k, state, order[k * batch_size : (k + 1) * batch_size])
        return float(loss)

    epoch(0)
    tell(parameters=sum(w.size for w in jax.tree.leaves(start)))
    for first in count(1, n_images // batch_size):
        began = wait()
        loss = epoch(first)
        tell(began, loss=loss)


def epoch_turns(warm_up=1):
    "A Keras callback that makes a turn of every epoch after the first `warm_up`."
    import keras

    class EpochTurns(keras.callbacks.Callback):
        def ready(self):
            tell(parameters=self.model.count_params())

        def on_train_begin(self, logs=None):
            if warm_up == 0:
                self.ready()

        def on_epoch_begin(self, epoch, logs=None):
            if epoch >= warm_up:
                self.began = wait()

        def on_epoch_end(self, epoch, logs=None):
            if epoch >= warm_up:
                tell(self.began, **logs)
            elif epoch == warm_up - 1:
                self.ready()

    return EpochTurns()


def our_loop(n_images, batch_size=32, tensorflow_first=False, devices=1, towers=None, xla=False, keras_layer=False,
             policy="float32"):
    if tensorflow_first:
        import tensorflow as tf

        tf.zeros(1) + 1.0
    if towers == 1:
        os.environ["TF_NUM_INTRAOP_THREADS"] = str(os.cpu_count())
    import cvae_nb  # noqa: F401  before TensorFlow, otherwise
    import keras
    import tensorflow as tf

    from cvae_nb.data import load_images
    from cvae_nb.engine import steps
    from cvae_nb.engine.layers import NarrowConv2DTranspose
    from cvae_nb.model import CVAE
    from cvae_nb.train import train

    assert tensorflow_first or os.environ["TF_ENABLE_ONEDNN_OPTS"] == "1"
    keras.mixed_precision.set_global_policy(policy)
    strategy = tf.distribute.get_strategy()
    if devices > 1:
        parts = [tf.config.LogicalDeviceConfiguration()] * devices
        tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], parts)
        strategy = tf.distribute.MirroredStrategy([f"CPU:{k}" for k in range(devices)])
    if keras_layer:
        NarrowConv2DTranspose.call = keras.layers.Conv2DTranspose.call
    if towers:
        with_towers = steps.make_gradients
        steps.make_gradients = lambda model, optimizer, recipe, *_, **__: with_towers(model, optimizer, recipe, towers, xla)
    images = load_images("mnist").train.images[:n_images]
    with strategy.scope():
        model = CVAE(latent_dim=2)
    train(model, images, recipe="tutorial", epochs=10**6, batch_size=batch_size, verbose=False, callbacks=[epoch_turns()])


def training_flops():
    "Floating-point operations for an image: each layer's product, and the gradients of its input and of its kernel."
    encoder, decoder = keras_network()
    total = 0
    for layer in encoder.layers + decoder.layers:
        if layer.weights:
            grid = layer.input if "transpose" in layer.name else layer.output  # where the kernel is laid
            total += 3 * 2 * math.prod(grid.shape[1:-1]) * math.prod(layer.kernel.shape)
    return total


def matrix_products(n):
    import cvae_nb  # noqa: F401  before TensorFlow
    import tensorflow as tf

    matrix, product = tf.random.normal([n, n]), tf.function(tf.matmul)
    product(matrix, matrix)
    tell(shape=list(matrix.shape))
    while True:
        began = wait()
        for _ in range(20):
            last = product(matrix, matrix)
        last.numpy()
        tell(began)


def tutorial_plane(draw):
    "A picture of 20x20 images, made one by one."
    import tensorflow as tf

    positions = np.linspace(-1.6, 1.6, 20, dtype="float32")
    picture = np.zeros([20 * 28, 20 * 28], "float32")
    for i, y in enumerate(positions):
        for j, x in enumerate(positions):
            image = tf.reshape(draw(np.array([[x, y]]))[0], [28, 28])
            picture[i * 28 : i * 28 + 28, j * 28 : j * 28 + 28] = image.numpy()
    return picture


def tutorial_tasks():
    import tensorflow as tf

    encoder, decoder = keras_network()
    batches = tutorial_data("x_test")
    keras_loss(encoder, decoder, next(iter(batches)))
    draw = tf.function(lambda z: tf.sigmoid(decoder(z)))
    tutorial_plane(draw)
    tell(parameters=encoder.count_params() + decoder.count_params())
    while True:
        began = wait()
        elbo = -np.mean([float(keras_loss(encoder, decoder, x)) for x in batches])
        between = time.perf_counter()
        shape = tutorial_plane(draw).shape
        tell(elbo=elbo, shape=shape, elbo_seconds=between - began, plane_seconds=time.perf_counter() - between)


def our_plane(model):
    "A picture of 20x20 images, made in one call."
    from cvae_nb.generate import generate_images
    from cvae_nb.manifold import latent_grid

    images = generate_images(model, latent_grid(20)[1])
    return images.reshape(20, 20, 28, 28).swapaxes(1, 2).reshape(20 * 28, 20 * 28)


def our_tasks():
    from cvae_nb.data import load_images
    from cvae_nb.model import CVAE
    from cvae_nb.train import evaluate_elbo

    model, images = CVAE(latent_dim=2), load_images("mnist").test.images
    evaluate_elbo(model, images)
    our_plane(model)
    tell(parameters=model.count_params())
    while True:
        began = wait()
        elbo = evaluate_elbo(model, images).elbo
        between = time.perf_counter()
        shape = our_plane(model).shape
        tell(elbo=elbo, shape=shape, elbo_seconds=between - began, plane_seconds=time.perf_counter() - between)


def peak_memory():
    "The largest resident set of this process so far, in bytes."
    import resource

    if os.path.exists("/proc/self/status"):
        lines = open("/proc/self/status").read().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS


def tutorial_epoch():
    encoder, decoder = keras_network()
    step = tutorial_step(encoder, decoder)
    train, test = tutorial_data("x_train"), tutorial_data("x_test")
    tell(parameters=encoder.count_params() + decoder.count_params())
    began = wait()
    for x in train:
        step(x)
    elbo = -np.mean([float(keras_loss(encoder, decoder, x)) for x in test])
    tell(began, elbo=elbo, memory=peak_memory())


def our_epoch():
    from cvae_nb.data import load_images
    from cvae_nb.model import CVAE
    from cvae_nb.train import train

    data, model = load_images("mnist"), CVAE(latent_dim=2)
    tell(parameters=model.count_params())
    began = wait()
    history = train(model, data.train, data.test, recipe="tutorial", epochs=1, verbose=False)
    tell(began, elbo=history["test_elbo"].iloc[-1], memory=peak_memory())


def choose(choices, n_train, n_held_out):
    "Train with each of some choices, and evaluate on held-out images."
    import functools

    from cvae_nb.data import hold_out, load_images
    from cvae_nb.model import CVAE
    from cvae_nb.engine import recipes
    from cvae_nb.train import train

    Muon = recipes.Muon
    rest, held_out = hold_out(load_images("mnist").train, n_held_out, seed=0)
    rest = rest.images[:n_train]
    tell(shape=rest.shape)
    for choice in choices:
        began, adam_lr_ratio = wait(), choice.pop("adam_lr_ratio", 0.5)
        recipes.Muon = functools.partial(Muon, adam_lr_ratio=adam_lr_ratio)
        model = CVAE(latent_dim=2, seed=choice.get("seed", 0))
        history = train(model, rest, validation_images=held_out, verbose=False, **choice)
        tell(began, **choice, adam_lr_ratio=adam_lr_ratio, elbo=history["val_elbo"].iloc[-1])


def our_run(recipe, epochs, seed):
    from cvae_nb.data import load_images
    from cvae_nb.model import CVAE
    from cvae_nb.train import train

    data = load_images("mnist")
    train(CVAE(latent_dim=2, seed=seed), data.train, data.test, recipe=recipe, epochs=epochs, seed=seed, verbose=False,
          callbacks=[epoch_turns(warm_up=0)])


tutorial_parts = binarized, tutorial_data, keras_network, keras_loss, tutorial_step
write_program("tutorial_loop", *tutorial_parts, tutorial_loop)
write_program("keras_fit", binarized, keras_network, keras_loss, batch_turns, keras_fit)
write_program("torch_loop", binarized, torch_network, torch_loss, torch_loop)
write_program("jax_loop", binarized, jax_network, jax_loss, jax_loop)
write_program("our_loop", epoch_turns, our_loop)
write_program("matrix_products", matrix_products)
write_program("tutorial_tasks", *tutorial_parts, tutorial_plane, tutorial_tasks)
write_program("our_tasks", our_plane, our_tasks)
write_program("tutorial_epoch", *tutorial_parts, peak_memory, tutorial_epoch)
write_program("our_epoch", peak_memory, our_epoch)
write_program("choose", choose)
write_program("our_run", epoch_turns, our_run)
