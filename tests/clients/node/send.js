// Send one message: AMQP_URL=amqp://... node send.js order.place.v1 '{"order": ...}'
import amqp from "amqplib";

const [routingKey, body] = process.argv.slice(2);
const connection = await amqp.connect(process.env.AMQP_URL);
const channel = await connection.createConfirmChannel();
channel.on("return", () => {
  console.error(`nobody consumes ${routingKey}: the message was not sent`);
  process.exitCode = 1;
});
channel.publish("quadrille.commands", routingKey, Buffer.from(body), { mandatory: true });
await channel.waitForConfirms();
await connection.close();
