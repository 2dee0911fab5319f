<?xml version="1.0" encoding="UTF-8"?>
<!-- The notice to the applicant's account: received, and handed on to whom. What the outputs (text, HTML, JSON) share. It repeats
     nothing of the application, because an account may be read where the application may not.
     A form that offers it has the group "rueckkanal" with the fields elektronischeMitteilung and elektronischerBescheid. -->
<xsl:stylesheet version="3.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform" xmlns:e="urn:datendrehscheibe:envelope:1"
                xmlns:xs="http://www.w3.org/2001/XMLSchema" exclude-result-prefixes="#all">
  <xsl:param name="name" as="xs:string" select="''"/>
  <xsl:param name="behoerde" as="xs:string" select="$name"/>
  <xsl:param name="subject" as="xs:string" select="''"/>
  <xsl:param name="case" as="xs:string" select="''"/>

  <!-- A municipality's letterhead: empty until its stylesheet overrides them (docs/mappings.md). Elements for mitteilung-html,
       text for mitteilung-text; the notice as JSON has none. -->
  <xsl:template name="briefkopf"/>
  <xsl:template name="vortext"/>
  <xsl:template name="fusszeile"/>

  <xsl:variable name="message" select="/e:envelope/e:metadata/e:message"/>
  <xsl:variable name="handle" select="string(/e:envelope/e:metadata/e:postfachHandle)"/>
  <xsl:variable name="rueckkanal" select="/e:envelope/e:fields/rueckkanal/instance[1]"/>
  <xsl:variable name="kassenzeichen" select="string(/e:envelope/e:fields/zahlung/instance[1]/kassenzeichen)"/>

  <xsl:variable name="betreff" as="xs:string" select="'Eingangsbestätigung: ' || $subject"/>
  <xsl:variable name="absaetze" as="xs:string+">
    <xsl:sequence select="'Guten Tag,'"/>
    <xsl:sequence select="'Ihr Antrag „' || $subject || '“ ist am '
                          || format-dateTime(xs:dateTime($message/@received), '[D01].[M01].[Y]') || ' um '
                          || format-dateTime(xs:dateTime($message/@received), '[H01]:[m01]')
                          || ' Uhr eingegangen und wird an ' || $behoerde || ' weitergeleitet.'"/>
    <xsl:sequence select="'Nachrichtennummer: ' || $message/@id"/>
    <xsl:if test="$case">
      <xsl:sequence select="'Vorgang: ' || $case"/>
    </xsl:if>
    <xsl:if test="$kassenzeichen">
      <xsl:sequence select="'Kassenzeichen: ' || $kassenzeichen"/>
    </xsl:if>
    <xsl:sequence select="'Bitte geben Sie diese Angaben bei Rückfragen an. Diese Nachricht wurde automatisch erstellt.'"/>
  </xsl:variable>
</xsl:stylesheet>
