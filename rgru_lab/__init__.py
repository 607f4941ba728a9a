"""Residual GRU Lab: how a recurrent neural network compresses photographs.

The rooms, each with one purpose; a room imports only from rooms above it:

    config       every number and place that two ends must agree on; presets
    files        reads files and writes them: the whole one, or nothing
    images       the only place where uint8 meets float
    metrics      PSNR, SSIM, MS-SSIM, bits per pixel; Bjøntegaard's difference of two curves
    cells        the Residual GRU and its peers
    model        encoder, binarizer, decoder; one iteration; load and save
    inheritance  weights out of other weights: of another size, or the mean of several
    fused        the Residual GRU in fewer, larger steps, for inference
    machine      what there is memory for, and which precision is fast and good enough
    losses       what training makes smaller
    codec        the loop R[i] = I - P[i]
    rangecoder   bits and probabilities to bytes and back
    bitmodel     the probability of the next bit, by counting
    bitnet       the probability of the next bit, by a network in whole numbers
    bitfloats    the same in floating point, where it can learn
    schedule     what every training shares: its length, its learning rate, the running mean of its weights
    bittraining  a network learns to predict the bits
    search       the encoder tries other bits
    bitstream    the .rgru file
    progression  a photograph through codec and file: P[i], bytes and quality for every iteration
    opponents    the JPEG, WebP or AVIF of the same bytes, or of the same quality
    photos       sample pictures; Kodak through a checksummed download
    patches      photographs in memory, and the squares that training cuts from them
    adaptive     which positions of the code stop sending bits, and when
    checkpoints  a training's state on disk
    processes    several train one codec: who is who, and what they tell each other
    runs         a training in a folder: checkpoint, log, and a stop between two steps
    graphs       a training step recorded once and played again, for GPUs
    bitdata      bits that a codec makes of photographs
    training     the step and the loop
    trials       small trainings that decide the recipe
    bench        seconds, memory, share of peak
    fuzz         damaged files by the thousand: nothing may break
    measuring    a set of pictures through codec and opponents, a row for every file
    comparing    what the rows say: curves, sizes at equal quality, who wins
    reports      the same for people
    evaluate     all three, into data/results/
    ablation     what memory, coded bits, cells and reconstructions are worth, into data/results/
    effects      what each idea beyond the paper is worth, alone and together, into data/results/
    plots        matplotlib figures
    viewer       the slider of the notebooks
    lessons      what notebooks need around a lesson: set-up, guesses, checked exercises with a way out
    readme       the README's numbers: what stands between its marks
    release      rebuilds all that depends on the weights
    commands     what each command of the command line does, and the words that it takes
    __main__     takes the words, runs the command, and ends in one sentence where it cannot

Letters: B batch, C channels, H W pixels, h w = H/16, W/16 the code grid, K bits per position and iteration,
N iterations, i = 1..N. I the image, P[i] its reconstruction, R[i] = I - P[i] the residual, B[i] the bits.
"""

__version__ = "0.1.0"
