"""The networks: PanoHead's generator, the two stages of an encoder, the tri-grid discriminator."""
