<?xml version="1.0" encoding="UTF-8"?>
<!-- urn:datendrehscheibe:geburtsurkunde:1, for the registry office's procedure and its cash office. What the payment service said
     stands in PaymentInformation as it came, so that no number of its own is lost. -->
<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform" xmlns="urn:datendrehscheibe:geburtsurkunde:1"
                xmlns:e="urn:datendrehscheibe:envelope:1" exclude-result-prefixes="e">
  <xsl:import href="common:fachverfahren.xsl"/>

  <xsl:variable name="wurzel" select="'Urkundenbestellung'"/>
  <xsl:variable name="namensraum" select="'urn:datendrehscheibe:geburtsurkunde:1'"/>

  <xsl:template match="kind/instance">
    <xsl:call-template name="gruppe"><xsl:with-param name="als" select="'BeurkundetePerson'"/></xsl:call-template>
  </xsl:template>

  <xsl:template match="eltern/instance">
    <xsl:call-template name="gruppe"><xsl:with-param name="als" select="'Elternteil'"/></xsl:call-template>
  </xsl:template>

  <xsl:template match="urkunden/instance">
    <xsl:call-template name="gruppe"><xsl:with-param name="als" select="'Urkunde'"/></xsl:call-template>
  </xsl:template>

  <xsl:template match="paymentInformation" priority="1">
    <xsl:if test="normalize-space()">
      <PaymentInformation medientyp="application/json"><xsl:value-of select="."/></PaymentInformation>
    </xsl:if>
  </xsl:template>

  <!-- With the handle of the account, or the procedure could not answer. -->
  <xsl:template match="rueckkanal/instance">
    <Rueckkanal postfachHandle="{/e:envelope/e:metadata/e:postfachHandle}" mitteilung="{elektronischeMitteilung = 'true'}"
                bescheid="{elektronischerBescheid = 'true'}"/>
  </xsl:template>

  <xsl:template match="erklaerung/instance">
    <xsl:apply-templates select="bemerkung"/>
  </xsl:template>
</xsl:stylesheet>
